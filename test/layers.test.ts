/**
 * The folder list of src/ is the dependency order: a file imports from its own room and from what the table
 * allows it (docs/architecture.md), and no files import each other in a circle. Packages and Node's modules are held
 * to a table too.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const SRC = join(dirname(fileURLToPath(import.meta.url)), "../src");

/**
 * Room (a folder, or a file with separate rules) → rooms that it may import, besides itself. Each one names only rooms
 * that stand above it. A file belongs to the room with the longest name; who may import a folder may import the rooms
 * inside it.
 */
const MAY_IMPORT: Record<string, readonly string[]> = {
  base: [],
  ring: ["base"],
  // Products of the base model's rounded weights.
  products: ["base"],
  rlwe: ["ring", "base"],
  pll: ["rlwe", "ring", "base"],
  wire: ["pll", "rlwe", "base"],
  weights: ["base"],
  bundle: ["pll", "rlwe", "ring", "weights", "base"],
  text: ["weights", "base"],
  "model/weights": ["weights", "base"],
  "model/delta-source.ts": ["weights"],
  "model/graph": ["model/weights", "model/delta-source.ts", "weights", "base"],
  "model/architectures": ["model/graph", "base"],
  "model/adapter": ["model/architectures", "model/graph", "model/delta-source.ts", "weights", "base"],
  "model/layer-states.ts": ["model/graph", "base"],
  "model/kept-rows.ts": ["base"],
  "model/kv-cache.ts": ["model/kept-rows.ts", "model/layer-states.ts", "model/graph", "base"],
  "model/run": ["model/kv-cache.ts", "model/graph", "model/delta-source.ts", "base"],
  model: [
    "model/run",
    "model/kv-cache.ts",
    "model/kept-rows.ts",
    "model/layer-states.ts",
    "model/adapter",
    "model/architectures",
    "model/graph",
    "model/delta-source.ts",
    "model/weights",
    "weights",
    "base",
  ],
  generation: ["model", "text", "weights", "base"],
  // Both ends load the kernels and hand the cryptographic objects to pll; the client opens the base model.
  provider: ["wire", "bundle", "pll", "rlwe", "ring", "weights", "base"],
  client: ["wire", "bundle", "pll", "rlwe", "ring", "generation", "model", "text", "weights", "base"],
  // Attacks, through the client alone; neither it nor the provider can reach the plain layers that it breaks.
  audit: [
    "client",
    "wire",
    "bundle",
    "pll",
    "rlwe",
    "ring",
    "generation",
    "model",
    "text",
    "weights",
    "base",
  ],
  // Whose copy it is: a provider's accounts against a suspect.
  trace: ["provider", "bundle", "pll", "rlwe", "ring", "weights", "base"],
  // Answers of a model in the shapes of OpenAI's API; where its deltas come from is the caller's business.
  openai: ["generation", "model", "text", "weights", "base"],
  platform: ["products", "weights", "base"],
  // What joins layers for programs, for one runtime each.
  library: ["platform", "client", "provider", "generation", "text", "model", "bundle", "weights", "base"],
  cli: [
    "library",
    "platform",
    "openai",
    "audit",
    "trace",
    "client",
    "provider",
    "generation",
    "model",
    "text",
    "bundle",
    "weights",
    "wire",
    "pll",
    "rlwe",
    "ring",
    "base",
  ],
  // The package's entries, of which each only says what it exports.
  entry: [
    "library",
    "platform",
    "openai",
    "client",
    "provider",
    "generation",
    "model",
    "text",
    "bundle",
    "weights",
    "wire",
    "pll",
    "rlwe",
    "ring",
    "base",
  ],
};

const ARCHITECTURE = readFileSync(join(SRC, "../docs/architecture.md"), "utf8");

/** The rooms that a row of the document's table names, sorted. */
function documented(room: string, allowed: string): string[] {
  const rooms = Object.keys(MAY_IMPORT);
  const but = /^all above but ([^;]*)/.exec(allowed)?.[1].split(/, | and /);
  if (but) {
    const above = rooms.slice(0, rooms.indexOf(room));
    return above.filter((other) => !other.includes("/") && !but.includes(other)).sort();
  }
  const names = allowed.split(", ").flatMap((name) => {
    if (name === "") return [];
    if (name === "all rooms of model")
      return rooms.filter((other) => isInside(other, "model") && other !== "model");
    if (name === "client and what client may import") return ["client", ...MAY_IMPORT.client];
    return [name];
  });
  return [...new Set(names)].sort();
}

/** Package or scheme → where it may be imported; a path that ends in "*" is a prefix. */
const PACKAGES: Record<string, readonly string[]> = {
  "@noble/": ["rlwe/*", "pll/*", "bundle/*", "weights/*", "provider/*", "client/*"],
  "@bufbuild/protobuf": ["wire/*", "text/sentencepiece/*"],
  "@huggingface/": ["text/*"],
  "onnx-proto": ["model/*"],
  "@redis/client": ["platform/node.ts*", "platform/node/*"],
  "node:": ["platform/node.ts*", "platform/node/*", "library/node*", "cli/*"],
  ws: ["platform/node.ts*", "platform/node/*", "cli/*"],
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
  const [from, to] = [roomOf(path), roomOf(resolved)];
  if (from === undefined) return `${path} is in no room of the table`;
  if (from === to) return undefined;
  if (from === "cli" && resolved.startsWith("platform/web")) return "the command line runs in Node";
  const allowed = MAY_IMPORT[from].some((room) => isInside(resolved, room));
  return allowed ? undefined : `${from} may not import ${to ?? resolved}`;
}

const isInside = (path: string, room: string): boolean => path === room || path.startsWith(`${room}/`);

function roomOf(path: string): string | undefined {
  const rooms = Object.keys(MAY_IMPORT).filter((room) => isInside(path, room));
  return rooms.sort((a, b) => b.length - a.length)[0];
}

/** Files that import each other, type-only imports included: each circle once, as its files. */
function circlesOf(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const circles: string[][] = [];
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      circles.push([...path.slice(path.indexOf(file)), file]);
      return;
    }
    if (done.has(file)) return;
    for (const target of imports.get(file) ?? []) walk(target, [...path, file]);
    done.add(file);
  };
  for (const file of imports.keys()) walk(file, []);
  return circles;
}

function importsByFile(files: readonly string[]): Map<string, string[]> {
  return new Map(
    files.map((path) => [
      path,
      importsOf(readFileSync(join(SRC, path), "utf8"))
        .filter((target) => target.startsWith("."))
        .map((target) => posix.join(posix.dirname(path), target)),
    ]),
  );
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

  it("docs/architecture.md has this table", () => {
    const rows = [...ARCHITECTURE.matchAll(/^\| ([\w/.-]+) \| ?([^|]*?) ?\|$/gm)]
      .map(([, room, allowed]) => [room, documented(room, allowed)] as const)
      .filter(([room]) => Object.hasOwn(MAY_IMPORT, room));
    expect(rows.map(([room]) => room)).toEqual(Object.keys(MAY_IMPORT));
    for (const [room, allowed] of rows) expect([room, allowed]).toEqual([room, [...MAY_IMPORT[room]].sort()]);
  });

  it("every file of src/ is in a room of the table, and no room is empty", () => {
    expect(files.filter((path) => roomOf(path) === undefined)).toEqual([]);
    const used = new Set(files.map(roomOf));
    expect(Object.keys(MAY_IMPORT).filter((room) => !used.has(room))).toEqual([]);
    expect(files.length).toBeGreaterThan(50);
  });

  it("no file imports upwards, a test, or a package that is not its own", () => {
    const found = files.flatMap((path) => violationsOf(path, readFileSync(join(SRC, path), "utf8")));
    expect(found).toEqual([]);
  });

  it("no files import each other in a circle", () => {
    expect(circlesOf(importsByFile(files))).toEqual([]);
  });

  it("finds a planted circle, of types too", () => {
    const planted = new Map([
      ["a.ts", ["b.ts"]],
      ["b.ts", ["c.ts", "d.ts"]],
      ["c.ts", ["a.ts"]],
      ["d.ts", []],
    ]);
    expect(circlesOf(planted)).toEqual([["a.ts", "b.ts", "c.ts", "a.ts"]]);
    expect(importsOf('import type { A } from "./a.ts";')).toEqual(["./a.ts"]);
  });

  it("sees the imports that are there", () => {
    const imports = importsOf(readFileSync(join(SRC, "client/private-model.ts"), "utf8"));
    expect(imports).toContain("../model/causal-lm.ts");
    expect(imports).toContain("./remote-provider.ts");
    expect(importsOf(readFileSync(join(SRC, "platform/node/tensors.ts"), "utf8"))).toContain(
      "onnxruntime-node",
    );
  });

  it.each([
    ["pll/x.ts", 'import { Provider } from "../provider/provider.ts";'],
    ["provider/x.ts", 'import type { RemoteAdapter } from "../client/remote-adapter.ts";'],
    ["model/x.ts", 'import {\n  a,\n  b,\n} from "../pll/quantize.ts";'],
    ["model/graph/x.ts", 'import type { LoadedModel } from "../run/loaded-model.ts";'],
    ["model/run/x.ts", 'import { CausalLm } from "../causal-lm.ts";'],
    ["text/x.ts", 'import { CausalLm } from "../model/causal-lm.ts";'],
    ["base/x.ts", 'export * from "../ring/kernels.ts";'],
    ["client/x.ts", 'import { readFileSync } from "node:fs";'],
    ["client/x.ts", 'import { NaiveLayer } from "../audit/baseline/naive-layer.ts";'],
    ["provider/x.ts", 'import { NaiveLayer } from "../audit/baseline/naive-layer.ts";'],
    ["audit/x.ts", 'import { Provider } from "../provider/provider.ts";'],
    ["client/x.ts", 'const ws = await import("ws");'],
    ["openai/x.ts", 'import { createServer } from "node:http";'],
    ["platform/web/socket.ts", 'import { WebSocket } from "ws";'],
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
    expect(violationsOf("platform/node/x.ts", 'import { x } from "node:fs";')).toEqual([]);
  });
});
