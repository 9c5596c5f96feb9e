/**
 * The folder list of src/ is the dependency order: a file imports from its own folder and from what the table
 * allows it (docs/architecture.md). Packages and Node's modules are held to a table too.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const SRC = join(dirname(fileURLToPath(import.meta.url)), "../src");

/** Folder → folders that it may import, besides itself. Each one names only folders that stand above it. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  base: [],
  ring: ["base"],
  rlwe: ["ring", "base"],
  pll: ["rlwe", "ring", "base"],
  wire: ["pll", "rlwe", "base"],
  weights: ["base"],
  bundle: ["pll", "rlwe", "ring", "weights", "base"],
  model: ["weights", "base"],
  // Both ends load the kernels and hand the cryptographic objects to pll; the client opens the base model.
  provider: ["wire", "bundle", "pll", "rlwe", "ring", "weights", "base"],
  client: ["wire", "bundle", "pll", "rlwe", "ring", "model", "weights", "base"],
  // Attacks, through the client alone; neither it nor the provider can reach the plain layers that it breaks.
  audit: ["client", "wire", "bundle", "pll", "rlwe", "ring", "model", "weights", "base"],
  // Answers of a model in the shapes of OpenAI's API; where its deltas come from is the caller's business.
  openai: ["model", "weights", "base"],
  platform: ["weights", "base"],
  // The package's main entries: for any runtime, and for Node.
  "index.ts": ["client", "model", "base"],
  "index-node.ts": ["platform", "client", "model", "weights", "base"],
  cli: [
    "platform",
    "openai",
    "audit",
    "client",
    "provider",
    "model",
    "bundle",
    "weights",
    "wire",
    "pll",
    "rlwe",
    "ring",
    "base",
  ],
};

/** Package or scheme → where it may be imported; a path that ends in "*" is a prefix. */
const PACKAGES: Record<string, readonly string[]> = {
  "@noble/": ["rlwe/*", "pll/*", "bundle/*", "weights/*", "provider/*", "client/*"],
  "@bufbuild/protobuf": ["wire/*", "model/sentencepiece/*"],
  "@huggingface/": ["model/*"],
  "onnx-proto": ["model/*"],
  "@redis/client": ["platform/node*"],
  "node:": ["platform/node*", "cli/*"],
  ws: ["platform/node*", "cli/*"],
  "onnxruntime-": ["platform/*", "cli/*"],
  commander: ["cli/*"],
  "cli-progress": ["cli/*"],
  pino: ["cli/*"],
  "prom-client": ["cli/*"],
};

/** Static imports, re-exports, and dynamic imports of a literal. */
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']/g;

function importsOf(source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  return [...code.matchAll(IMPORT)].map((match) => match[1] ?? match[2]);
}

/** @param path of the file, relative to src/ */
function violationsOf(path: string, source: string): string[] {
  return importsOf(source).flatMap((target) => {
    const problem = target.startsWith(".") ? relativeProblem(path, target) : packageProblem(path, target);
    return problem === undefined ? [] : [`${path} imports ${target}: ${problem}`];
  });
}

function relativeProblem(path: string, target: string): string | undefined {
  if (!target.endsWith(".ts")) return "relative imports end in .ts";
  if (target.endsWith(".test.ts")) return "a test is not imported";
  const resolved = posix.join(posix.dirname(path), target);
  if (resolved.startsWith("..")) return "it leaves src/";
  const [from, to] = [path, resolved].map((file) => file.split("/")[0]);
  if (from === to) return undefined;
  if (MAY_IMPORT[from] === undefined) return `the folder ${from} is not in the table`;
  if (from === "cli" && resolved.startsWith("platform/web")) return "the command line runs in Node";
  return MAY_IMPORT[from].includes(to) ? undefined : `${from} may not import ${to}`;
}

function packageProblem(path: string, target: string): string | undefined {
  const name = Object.keys(PACKAGES).find((prefix) =>
    /[-:/]$/.test(prefix) ? target.startsWith(prefix) : target === prefix || target.startsWith(`${prefix}/`),
  );
  if (name === undefined) return "the package is not in the table";
  const allowed = PACKAGES[name].some((place) => path.startsWith(place.slice(0, -1)));
  return allowed ? undefined : `only ${PACKAGES[name].join(", ")} may import it`;
}

function sourceFiles(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => /\.ts$/.test(path) && !/\.(test|d)\.ts$/.test(path));
}

describe("layers", () => {
  const files = sourceFiles();

  it("the table is an order: every folder imports folders that stand above it", () => {
    const folders = Object.keys(MAY_IMPORT);
    for (const [i, folder] of folders.entries()) {
      for (const below of MAY_IMPORT[folder]) expect(folders.slice(0, i)).toContain(below);
    }
  });

  it("every folder of src/ is in the table", () => {
    const folders = new Set(files.map((path) => path.split("/")[0]));
    expect([...folders].filter((folder) => !(folder in MAY_IMPORT))).toEqual([]);
    expect(files.length).toBeGreaterThan(50);
  });

  it("no file imports upwards, a test, or a package that is not its own", () => {
    const found = files.flatMap((path) => violationsOf(path, readFileSync(join(SRC, path), "utf8")));
    expect(found).toEqual([]);
  });

  it("sees the imports that are there", () => {
    const imports = importsOf(readFileSync(join(SRC, "client/client.ts"), "utf8"));
    expect(imports).toContain("../model/causal-lm.ts");
    expect(imports).toContain("./remote-provider.ts");
    expect(importsOf(readFileSync(join(SRC, "platform/node-tensors.ts"), "utf8"))).toContain(
      "onnxruntime-node",
    );
  });

  it.each([
    ["pll/x.ts", 'import { Provider } from "../provider/provider.ts";'],
    ["provider/x.ts", 'import type { RemoteAdapter } from "../client/remote-adapter.ts";'],
    ["model/x.ts", 'import {\n  a,\n  b,\n} from "../pll/quantize.ts";'],
    ["base/x.ts", 'export * from "../ring/kernels.ts";'],
    ["client/x.ts", 'import { readFileSync } from "node:fs";'],
    ["client/x.ts", 'import { NaiveLayer } from "../audit/baseline/naive-layer.ts";'],
    ["provider/x.ts", 'import { NaiveLayer } from "../audit/baseline/naive-layer.ts";'],
    ["audit/x.ts", 'import { Provider } from "../provider/provider.ts";'],
    ["client/x.ts", 'const ws = await import("ws");'],
    ["openai/x.ts", 'import { createServer } from "node:http";'],
    ["platform/web-socket.ts", 'import { WebSocket } from "ws";'],
    ["provider/x.ts", 'import "onnxruntime-node";'],
    ["pll/x.ts", 'import { seededRandom } from "../../test/oracle/seeded-random.ts";'],
    ["pll/x.ts", 'import { x } from "./x.test.ts";'],
    ["pll/x.ts", 'import { x } from "left-pad";'],
    ["pll/x.ts", 'import { x } from "../base/bytes";'],
    ["elsewhere/x.ts", 'import { x } from "../base/bytes.ts";'],
    ["cli/x.ts", 'import { x } from "../platform/web.ts";'],
  ])("catches a planted violation in %s", (path, source) => {
    expect(violationsOf(path, `/** A file. */\nconst before = 1;\n${source}\n`)).toHaveLength(1);
  });

  it("lets through what is allowed, and what only a comment says", () => {
    const source = [
      'import { x } from "../ring/kernels.ts";',
      'import { sha256 } from "@noble/hashes/sha2.js";',
      '// import { y } from "../client/client.ts";',
      '/** ```ts\n * import { z } from "node:fs";\n * ``` */',
      'export { a } from "./b.ts";',
    ].join("\n");
    expect(violationsOf("pll/x.ts", source)).toEqual([]);
    expect(violationsOf("platform/node-x.ts", 'import { x } from "node:fs";')).toEqual([]);
  });
});
