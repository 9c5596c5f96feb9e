// A seeded model of a published shape in a page of a real Chromium: load, prompt, token, and the memory of its processes.
// TACET_BENCH_PROFILE names a folder that keeps what the browser has stored, for the next run.
// npm run bench -- browser --shape=qwen2.5-0.5b [--weights=int4] [--only=cpu,webgpu] [--full]
import { execFileSync } from "node:child_process";
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright";
import { build, defaultClientConditions, type Plugin, preview } from "vite";
import type { Figures, Wishes } from "./browser/figures.ts";
import type { BenchOptions, Section } from "./harness.ts";
import { CASES, seededFolders } from "./seeded-model.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const PROMPT_TOKENS = 128;
/** What a browser keeps belongs to an origin. */
const PORT = 18_788;
/** Of larger shapes, without --full. */
const MOST_LAYERS = 8;
/** Chromium without a GPU has WebGPU in software: it shows that a model runs, not how fast. */
const SOFTWARE_GPU = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
];

export async function run(options: BenchOptions): Promise<Section[]> {
  const { weights = "int4", only = ["cpu"], full = false } = options;
  const rows: string[] = [];
  for (const shape of options.shape ? [options.shape] : ["qwen2.5-0.5b"]) {
    const found = CASES.find((each) => each.shape === shape);
    if (!found) throw new RangeError(`no case ${shape}`);
    const { base } = seededFolders(found, full || shape === "qwen2.5-0.5b" ? undefined : MOST_LAYERS);
    for (const device of only as ("cpu" | "webgpu")[]) {
      const { figures, peak, held } = await inBrowser(base, {
        device,
        weights,
        promptTokens: device === "webgpu" ? 8 : PROMPT_TOKENS,
        decodeTokens: device === "webgpu" ? 2 : shape === "qwen2.5-0.5b" ? 16 : 4,
      });
      const s = (ms: number | undefined) => (ms === undefined ? "–" : `${(ms / 1000).toFixed(1)} s`);
      const { threads, fetchMs, firstLoadMs, loadMs, promptMs, tokenMs, error } = figures;
      rows.push(
        error === undefined
          ? `| ${shape} | ${weights} | ${device}, ${threads} threads | ${s(fetchMs)} | ${s(firstLoadMs)} | ${s(loadMs)} | ${s(promptMs)} | ${tokenMs?.toFixed(0)} ms | ${held} | ${peak} |`
          : `| ${shape} | ${weights} | ${device} | ${error.slice(0, 300)} | | | | | ${held} | ${peak} |`,
      );
    }
  }
  const head =
    "| shape | weights | where | into the browser's storage | first load, copy made | later loads | prompt of 128 (WebGPU: 8) | a token | memory of its processes | most |\n|---|---|---|---|---|---|---|---|---|---|";
  return [{ title: "A base model in Chromium", body: `${head}\n${rows.join("\n")}\n` }];
}

async function inBrowser(base: string, wishes: Omit<Wishes, "folder">) {
  const files = readdirSync(base)
    .filter((name) => /\.(json|safetensors)$/.test(name))
    .map((path) => ({ path, size: statSync(join(base, path)).size }));
  const built = mkdtempSync(join(tmpdir(), "tacet-bench-page-"));
  await build({
    root: join(ROOT, "bench/browser"),
    configFile: false,
    logLevel: "error",
    resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
    worker: { format: "es" },
    build: { outDir: built, emptyOutDir: true, target: "es2022", assetsInlineLimit: 0 },
  });
  const server = await preview({
    root: ROOT,
    configFile: false,
    build: { outDir: built },
    preview: {
      host: "127.0.0.1",
      port: PORT,
      headers: {
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-resource-policy": "same-origin",
      },
    },
    plugins: [serveFolder(base)],
  });
  // What a first run has fetched and made is there for another one.
  const kept = process.env.TACET_BENCH_PROFILE;
  const profile = kept ?? mkdtempSync(join(tmpdir(), "tacet-bench-browser-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
    args: ["--no-sandbox", ...(wishes.device === "webgpu" ? SOFTWARE_GPU : ["--disable-gpu"])],
  });
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, memoryOf(profile))), 500);
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    await page.goto(server.resolvedUrls!.local[0]);
    await page.waitForFunction("globalThis.measure !== undefined");
    const folder = { url: new URL("/checkpoint/", page.url()).href, files, version: "1" };
    const figures = await page.evaluate(
      (asked) => (globalThis as unknown as { measure(wishes: Wishes): Promise<Figures> }).measure(asked),
      { ...wishes, folder },
    );
    const held = memoryOf(profile);
    const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
    return { figures, peak: gigabytes(Math.max(most, held)), held: gigabytes(held) };
  } finally {
    clearInterval(watch);
    await browser.close();
    await server.close();
    for (const folder of [built, ...(kept === undefined ? [profile] : [])])
      rmSync(folder, { recursive: true, force: true });
  }
}

function serveFolder(base: string): Plugin {
  return {
    name: "checkpoint",
    configurePreviewServer(server) {
      server.middlewares.use("/checkpoint/", (request, response) => {
        const name = decodeURIComponent((request.url ?? "").slice(1));
        if (!readdirSync(base).includes(name)) {
          response.writeHead(404).end();
          return;
        }
        createReadStream(join(base, name)).pipe(response);
      });
    },
  };
}

/** Bytes that the browser's processes have to themselves, or share with nobody outside: proportional set sizes. */
function memoryOf(profile: string): number {
  const pids = execFileSync("pgrep", ["-f", profile]).toString().split("\n").filter(Boolean);
  // Renderers do not have the profile on their command line: the children of those that have.
  const all = new Set(pids);
  for (let size = 0; size !== all.size; ) {
    size = all.size;
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name) && !all.has(name))) {
      try {
        const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
        if (parent !== undefined && all.has(parent)) all.add(pid);
      } catch {}
    }
  }
  let bytes = 0;
  for (const pid of all) {
    try {
      bytes +=
        1024 * Number(/^Pss:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0);
    } catch {}
  }
  return bytes;
}
