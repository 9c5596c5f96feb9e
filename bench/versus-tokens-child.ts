// One version's private model and its plaintext LoRA in the same engine, in a process. Argument: the version's folder.
// Takes orders, and says how long each step took.
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { collectLessOften } from "../src/platform/node/heap.ts";
import { exportsOf, type Modules, serveAdapter } from "./versions.ts";

export type Kind = "private" | "plaintext";

/** What is said, and answered. */
export interface Entry {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

/** Reads the entry word by word, then a prompt of so many tokens. */
export interface Order {
  readonly kind: Kind;
  readonly entry: Entry;
  readonly longPrompt: number;
}

/** Milliseconds. */
export interface Answered {
  readonly steps: readonly number[];
  readonly prompt: number;
}

const LEXICON = fileURLToPath(new URL("../models/lexicon/", import.meta.url));
const folder = process.argv[2];
// As the command line has it, in all versions.
collectLessOften();
const state = mkdtempSync(join(tmpdir(), "tacet-versus-"));
let provider: ChildProcess | undefined;
process.once("exit", () => {
  provider?.kill("SIGKILL");
  rmSync(state, { recursive: true, force: true });
});
// The bench has ended, however it did.
process.once("disconnect", () => process.exit());
const { models, ready } = await open();
process.on("message", (order: Order) => {
  answer(order).then(
    (answered) => process.send!(answered),
    (error: Error) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.send!({ steps: [], prompt: 0 } satisfies Answered);

async function open() {
  // What packages export, and the command line, so that version 0.1.0 (95124ce) can stand beside this one.
  const entry = exportsOf(folder);
  const { CausalLm, fitAdapter, LocalLora, openCheckpoint, openLoraAdapter } = await entry("./model");
  const { nodeFileTree, nodePlatform } = await entry("./platform/node");
  const { openPrivateModel, connect } = await entry("./client");
  const [baseFolder, adapterFolder] = [join(LEXICON, "base"), join(LEXICON, "law-adapter")];
  const folders = { base: baseFolder, adapter: adapterFolder, state: join(state, "state") };
  const { child, url } = await serveAdapter(folder, folders);
  provider = child;
  const platform = nodePlatform();
  const base = await openCheckpoint(nodeFileTree(baseFolder));
  const adapter = await openLoraAdapter(nodeFileTree(adapterFolder));
  const fitted = await fitAdapter(adapter, base);
  // As older versions called it, and which gave the groups alone.
  const joined = await (openPrivateModel ?? connect)(platform, { base, provider: url });
  const deltas = Array.isArray(fitted) ? new LocalLora(adapter, fitted) : new LocalLora(fitted);
  const models: Record<Kind, Modules> = {
    private: joined.model,
    plaintext: await CausalLm.load(base, platform.tensors, { deltas }),
  };
  return { models, ready: async () => await joined.adapter.ready?.() };
}

async function answer({ kind, entry, longPrompt }: Order): Promise<Answered> {
  const model = models[kind];
  const forward = async (ids: readonly number[], cache: unknown) => {
    const start = performance.now();
    await model.forward(ids, cache);
    return performance.now() - start;
  };
  // Idle work is done, and falls into nobody's time.
  await ready();
  const cache = model.newCache();
  await forward(entry.prompt, cache);
  const steps: number[] = [];
  for (const id of entry.answer.slice(0, -1)) steps.push(await forward([id], cache));
  cache.dispose();
  const long = model.newCache();
  const ids = Array.from({ length: longPrompt }, (_, i) => entry.prompt[i % entry.prompt.length]);
  const prompt = await forward(ids, long);
  long.dispose();
  await ready();
  return { steps, prompt };
}
