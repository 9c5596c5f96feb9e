// llama.cpp through node-llama-cpp, whose registry packages hold its binaries. It is no dependency of this repository:
// its optional packages for GPUs are 700 MB, which npm can't leave out one by one, and it has an install script. So it is
// installed on first use, beside the models of the benches: this version, the binary for this machine's processor, no
// scripts.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { benchCache } from "../seeded-model.ts";

export const LLAMA_PACKAGE = "node-llama-cpp@3.22.1";

/** What is used of node-llama-cpp. */
export interface LlamaModule {
  getLlama(options: {
    gpu: false;
    build: "never";
    skipDownload: true;
    maxThreads: number;
    logLevel: "error";
  }): Promise<Llama>;
}

export interface Llama {
  loadModel(options: { modelPath: string; useMmap: boolean }): Promise<LlamaModel>;
  dispose(): Promise<void>;
}

export interface LlamaModel {
  createContext(options: { contextSize: number; threads: number }): Promise<LlamaContext>;
}

export interface LlamaContext {
  readonly flashAttention: "auto" | boolean;
  getSequence(): LlamaSequence;
}

export interface LlamaSequence {
  clearHistory(): Promise<void>;
  /**
   * Reads ids; the logits of those with true in `withLogits` are computed, and `onLogits` called. Not of its public
   * interface, whose calls all pick an id from the logits too: that takes a millisecond where there are 150,000, and is
   * not measured of our engine.
   */
  _decodeTokens(
    ids: readonly number[],
    withLogits: readonly boolean[],
    priority: number,
    meter: unknown,
    shift: { size: number; strategy: "eraseBeginning" },
    onLogits: () => Promise<void>,
  ): Promise<unknown>;
  readonly _tokenMeter: unknown;
  /** With `probabilities` those of all ids that may follow. */
  controlledEvaluate(
    input: readonly (number | readonly [number, { generateNext: { probabilities: true } }])[],
  ): Promise<({ next: { probabilities: Map<number, number> } } | undefined)[]>;
}

/** Where it is installed. */
export const llamaFolder = () => join(benchCache(), LLAMA_PACKAGE.replace("@", "-"));

/** Installs it where it is not, and gives its folder. @throws Error where npm can't */
export function installLlama(): string {
  const folder = llamaFolder();
  if (existsSync(folder)) return folder;
  const version = LLAMA_PACKAGE.slice(LLAMA_PACKAGE.lastIndexOf("@") + 1);
  const packages = [LLAMA_PACKAGE, `${binaryPackage()}@${version}`];
  console.error(`installing ${packages.join(" and ")} into ${folder} …`);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  writeFileSync(join(partial, "package.json"), '{ "private": true }\n');
  const flags = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--save-exact"];
  execFileSync("npm", ["install", ...flags, ...packages], {
    cwd: partial,
    stdio: ["ignore", "ignore", "inherit"],
  });
  renameSync(partial, folder);
  return folder;
}

/** @param folder of {@link installLlama} */
export async function importLlama(folder: string): Promise<LlamaModule> {
  const entry = join(folder, "node_modules/node-llama-cpp/dist/index.js");
  return (await import(pathToFileURL(entry).href)) as LlamaModule;
}

function binaryPackage(): string {
  const system = { linux: "linux", darwin: "mac", win32: "win" }[process.platform as string];
  if (system === undefined) throw new Error(`node-llama-cpp has no binary for ${process.platform}`);
  const metal = system === "mac" && process.arch === "arm64" ? "-metal" : "";
  return `@node-llama-cpp/${system}-${process.arch}${metal}`;
}
