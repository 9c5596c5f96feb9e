// What engines are made of: seeded checkpoint and adapter, the same weights as GGUF, llama.cpp, and a provider.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createBundle } from "../../src/bundle/create-bundle.ts";
import { writeStateFolder } from "../../src/library/node-state-folder.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import { nodeFileTree } from "../../src/platform/node.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { seededGguf } from "../../tools/gguf/seeded-gguf.ts";
import { writeGguf } from "../../tools/gguf/write-gguf.ts";
import { startProvider } from "../provider-process.ts";
import type { SeededFolders } from "../seeded-model.ts";
import { EngineProcess } from "./engine-process.ts";
import type { EngineName, EngineSource } from "./engines.ts";
import { llamaFolder } from "./llama-package.ts";

/** Makes and reads everything that a load needs, so that loads are second ones and files are in memory. */
export async function prepare(
  { base, adapter, shape }: SeededFolders,
  names: readonly EngineName[],
  weights: WeightFormat,
  cleanUp: (() => unknown)[],
): Promise<{ source: EngineSource; provider: Serving | undefined }> {
  const gguf = join(dirname(base), "seeded-q4_0.gguf");
  const source: EngineSource = { base, adapter, weights, gguf, llama: "" };
  const provider = names.includes("private") ? await serve(source, cleanUp) : undefined;
  if (names.includes("llama") && !existsSync(gguf)) {
    console.error(`making ${gguf} …`);
    mkdirSync(dirname(gguf), { recursive: true });
    writeGguf(gguf, seededGguf(shape));
  }
  const llama = names.includes("llama") ? llamaFolder() : "";
  if (names.some((name) => name !== "llama")) {
    console.error("loading for the first time, which quantizes where that has not been done …");
    (await EngineProcess.load("graph", source)).kill();
  }
  if (names.includes("llama")) await readThrough(gguf);
  return { source: { ...source, llama, ...(provider && { provider }) }, provider };
}

/** A provider in a separate process, and what it took to get there, once. */
export interface Serving {
  readonly pid: number;
  readonly url: string;
  readonly baseFingerprint: Uint8Array;
  readonly fingerprintMs: number;
  readonly bundleMs: number;
  readonly bundleBytes: number;
}

async function serve({ base, adapter }: EngineSource, cleanUp: (() => unknown)[]): Promise<Serving> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const fitted = await fitAdapter(await openLoraAdapter(nodeFileTree(adapter)), checkpoint);
  const start = performance.now();
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const fingerprinted = performance.now();
  const made = await createBundle({ adapter: "bench", baseFingerprint, ...fitted }, systemRandom);
  const bundleMs = performance.now() - fingerprinted;
  const state = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  cleanUp.push(() => rmSync(state, { recursive: true, force: true }));
  await writeStateFolder(state, made);
  const { child, url } = await startProvider(state);
  cleanUp.push(() => child.kill());
  const bundleBytes = made.bundle.length;
  return {
    pid: child.pid!,
    url,
    baseFingerprint,
    fingerprintMs: fingerprinted - start,
    bundleMs,
    bundleBytes,
  };
}

async function readThrough(path: string): Promise<void> {
  const file = await open(path);
  const block = Buffer.alloc(1 << 22);
  while ((await file.read(block)).bytesRead > 0);
  await file.close();
}
