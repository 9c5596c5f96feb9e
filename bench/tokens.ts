// End to end on the embedded model: decode steps of the same answers, plaintext LoRA against private through a
// provider process on loopback, in turns, word by word, in one run.
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { openPrivateModel, type PrivateModel } from "../src/client/private-model.ts";
import { writeStateFolder } from "../src/library/node-state-folder.ts";
import { fitAdapter } from "../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../src/model/adapter/local-lora.ts";
import { CausalLm } from "../src/model/causal-lm.ts";
import { nodeFileTree, nodePlatform } from "../src/platform/node.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import { type BenchOptions, formatBytes, markdownTable, quantile, type Section } from "./harness.ts";
import { startProvider } from "./provider-process.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const LEXICON = join(ROOT, "models/lexicon");
const LONG_PROMPT = 64;

interface Entry {
  readonly word: string;
  readonly prompt_ids: number[];
  readonly base: { readonly ids: number[] };
  readonly adapter: { readonly ids: number[] };
}

/** A way to run the model, and the milliseconds that its decode steps took. */
interface Mode {
  readonly name: string;
  readonly model: CausalLm;
  /** The answer whose ids are fed: every mode does the same steps. */
  readonly answer: "base" | "adapter";
  readonly steps: number[];
  readonly prefill: number[];
  equal: boolean;
}

export async function run(options: BenchOptions): Promise<Section[]> {
  const entries: Entry[] = JSON.parse(readFileSync(join(LEXICON, "expected.json"), "utf8")).entries;
  const chosen = options.quick ? entries.slice(0, 3) : entries;
  const rounds = options.quick ? 1 : 2;
  const platform = nodePlatform();
  const checkpoint = await openCheckpoint(nodeFileTree(join(LEXICON, "base")));
  const adapter = await openLoraAdapter(nodeFileTree(join(LEXICON, "law-adapter")));
  const fitted = await fitAdapter(adapter, checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const folder = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  const providers: ChildProcess[] = [];
  const open: { close(): Promise<void> }[] = [];
  try {
    const serve = async (): Promise<PrivateModel> => {
      const input = { adapter: "law", baseFingerprint, ...fitted };
      const made = await createBundle(input, systemRandom);
      const state = join(folder, "state");
      await writeStateFolder(state, made);
      const { child, url } = await startProvider(state);
      providers.push(child);
      const joined = await openPrivateModel(platform, { base: checkpoint, provider: url });
      open.push(joined);
      return joined;
    };
    const local = await CausalLm.load(checkpoint, platform.tensors, {
      deltas: new LocalLora(fitted),
    });
    const [uncut, whole] = await CausalLm.loadShared(checkpoint, platform.tensors, [{ adapter }, {}]);
    const hidden = await serve();
    const mode = (name: string, model: CausalLm, answer: Mode["answer"]): Mode => {
      return { name, model, answer, steps: [], prefill: [], equal: true };
    };
    const modes = [
      mode("plaintext LoRA, same segments", local, "adapter"),
      mode("**private**", hidden.model, "adapter"),
      mode("plaintext LoRA, one graph", uncut, "adapter"),
      mode("base alone, the same graph", whole, "base"),
    ];
    for (const entry of chosen.slice(0, 2)) for (const each of modes) await runAnswer(each, entry, false);
    const before = { ...hidden.provider.traffic };
    const clock = { ...hidden.adapter.timings };
    const waits = { ...hidden.model.timings };
    for (let round = 0; round < rounds; round++) {
      for (const entry of chosen) {
        for (const each of modes) {
          // A reader's pause: idle work is done, and falls into nobody's time.
          await hidden.adapter.ready();
          await runAnswer(each, entry, true);
        }
      }
    }
    const { traffic } = hidden.provider;
    const tokens = hidden.model.timings.forwards - waits.forwards;
    const per = (now: number, then: number) => (now - then) / tokens;
    const time = (now: number, then: number) => `${per(now, then).toFixed(2)} ms`;
    const { timings } = hidden.adapter;
    const split = markdownTable(
      ["of the private token", "mean"],
      [
        ["base model (ONNX Runtime)", time(hidden.model.timings.modelMs, waits.modelMs)],
        ["encryption, recovery, B′·y, late masks", time(timings.cryptoMs, clock.cryptoMs)],
        ["provider computing", time(timings.providerMs, clock.providerMs)],
        ["waiting for answers, after the overlap", time(hidden.model.timings.waitMs, waits.waitMs)],
        ["beforehand, in idle time: masks", `${hidden.adapter.idleMsPerToken.toFixed(2)} ms`],
        ["bytes up", formatBytes(per(traffic.bytesUp, before.bytesUp))],
        ["bytes down", formatBytes(per(traffic.bytesDown, before.bytesDown))],
        ["bytes of keys", formatBytes(per(traffic.keyBytes, before.keyBytes))],
        ["round trips", per(traffic.roundTrips, before.roundTrips).toFixed(1)],
      ],
    );
    const reference = modes[0];
    const rows = modes.map((each) => [
      each.name,
      String(each.steps.length),
      ...quantiles(each.steps).map((ms) => ms.toFixed(2)),
      `${(median(each.steps) / median(reference.steps)).toFixed(2)}×`,
      median(each.prefill).toFixed(1),
      each.equal ? "yes" : "**no**",
    ]);
    const table = markdownTable(
      [
        "mode",
        "steps",
        "ms/token 10 %",
        "median",
        "90 %",
        "ratio",
        `prefill of ${LONG_PROMPT}, ms`,
        "ids as expected",
      ],
      rows,
    );
    const met = median(modes[1].steps) <= 1.5 * median(reference.steps);
    const sustained = await runSustained(hidden, entries[0]);
    const verdict = `Target (private ≤ 1.5× plaintext LoRA on loopback): ${met ? "met" : "**not met**"}. Masks are made in idle time, for up to 192 tokens; without pauses the median private token took ${sustained.toFixed(2)} ms.`;
    return [
      { title: "Decode, embedded model", body: [table, verdict].join("\n\n") },
      { title: "Where the time of a private token goes", body: split },
    ];
  } finally {
    for (const joined of open) await joined.close();
    for (const child of providers) child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Median decode step of a long text without pauses, after the masks made ahead are used up. */
async function runSustained({ model }: PrivateModel, entry: Entry): Promise<number> {
  const cache = model.newCache(256);
  await model.forward(entry.prompt_ids, cache);
  const steps: number[] = [];
  for (let i = 0; i < 320; i++) {
    if (cache.length > 200) cache.truncate(entry.prompt_ids.length);
    const start = performance.now();
    await model.forward([entry.adapter.ids[i % entry.adapter.ids.length]], cache);
    if (i >= 200) steps.push(performance.now() - start);
  }
  cache.dispose();
  return median(steps);
}

/** Greedy decoding of one answer, each step timed; then one long prefill. */
async function runAnswer(mode: Mode, entry: Entry, record: boolean): Promise<void> {
  const expected = entry[mode.answer].ids;
  const cache = mode.model.newCache();
  let next: readonly number[] = entry.prompt_ids;
  for (const [i, id] of expected.entries()) {
    const start = performance.now();
    const logits = await mode.model.forward(next, cache);
    const elapsed = performance.now() - start;
    if (record && i > 0) mode.steps.push(elapsed);
    if (logits.indexOf(Math.max(...logits)) !== id) mode.equal = false;
    next = [id];
  }
  cache.dispose();
  const prompt = Array.from({ length: LONG_PROMPT }, (_, i) => entry.prompt_ids[i % entry.prompt_ids.length]);
  const long = mode.model.newCache();
  const start = performance.now();
  await mode.model.forward(prompt, long);
  if (record) mode.prefill.push(performance.now() - start);
  long.dispose();
}

const quantiles = (samples: readonly number[]) => [0.1, 0.5, 0.9].map((part) => quantile(samples, part));

function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}
