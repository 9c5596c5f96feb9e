// Published models' shapes with seeded weights: prefill and decode, plaintext LoRA against private through a provider
// process on loopback. One loaded base serves both, in blocks of steps that take turns, so that a neighbour on the
// machine hits both alike. Every mode reads the same ids: what they are does not change the time.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Platform } from "../src/base/platform.ts";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { RemoteAdapter } from "../src/client/remote-adapter.ts";
import { RemoteProvider } from "../src/client/remote-provider.ts";
import { writeStateFolder } from "../src/library/node-state-folder.ts";
import { fitAdapter } from "../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../src/model/adapter/local-lora.ts";
import { CausalLm, type LoadOptions } from "../src/model/causal-lm.ts";
import type { WeightFormat } from "../src/model/weights/weight-source.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../src/platform/node.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { type Checkpoint, openCheckpoint } from "../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import type { BenchOptions, Section } from "./harness.ts";
import { type Mode, measureModes, measureWhole } from "./large/measure-modes.ts";
import { reportCase } from "./large/report-case.ts";
import { benchCache, CASES, type LargeCase, seededFolders } from "./large/seeded-model.ts";
import { SwitchedDeltas } from "./large/switched-deltas.ts";
import { peakMemory, resetPeakMemory, startProvider } from "./provider-process.ts";

export async function run(options: BenchOptions): Promise<Section[]> {
  const chosen = CASES.filter(({ shape }) => options.shape === undefined || options.shape === shape);
  if (chosen.length === 0) throw new Error(`no case named ${options.shape}`);
  const sections: Section[] = [];
  for (const each of chosen) sections.push(await runCase(each, options));
  return sections;
}

async function runCase(each: LargeCase, options: BenchOptions): Promise<Section> {
  const {
    base,
    adapter: adapterFolder,
    shape,
  } = seededFolders(each, options.full ? undefined : each.smallLayers);
  const weights = options.weights ?? "int4";
  resetPeakMemory();
  const clock = stopwatch();
  const platform = nodePlatform();
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const adapter = await openLoraAdapter(nodeFileTree(adapterFolder));
  const fitted = await fitAdapter(adapter, checkpoint);
  const { groups } = fitted;
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const fingerprintMs = clock();
  const made = await createBundle({ adapter: "bench", baseFingerprint, ...fitted }, systemRandom);
  const bundleMs = clock();

  const state = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  const cleanUp: (() => unknown)[] = [() => rmSync(state, { recursive: true, force: true })];
  try {
    await writeStateFolder(state, made);
    const { child, url } = await startProvider(state);
    cleanUp.push(() => child.kill());
    clock();
    const { provider, bundle } = await RemoteProvider.connect(platform, { url, baseFingerprint });
    cleanUp.push(() => provider.close());
    const remote = new RemoteAdapter(bundle, provider, provider.limits, provider.welcome.vectorsPerKey);
    cleanUp.push(() => remote.dispose());
    await remote.restoreKeys();
    const connectMs = clock();
    const local = new LocalLora(fitted);
    const deltas = new SwitchedDeltas<Mode>({ plaintext: local, private: remote }, "plaintext");
    // The masks of its idle time are made first, and fall into nobody's time.
    await remote.ready();
    const { model, ...clockOf } = await loadBase(checkpoint, platform, { deltas, weights });
    cleanUp.push(() => model.dispose());

    const measured = await measureModes(model, deltas, remote, provider, options.quick);
    const times = {
      fingerprintMs,
      bundleMs,
      connectMs,
      loadMs: clockOf.loadMs,
      quantizeMs: clockOf.quantizeMs,
    };
    const peaks = { client: peakMemory(process.pid), provider: peakMemory(child.pid!) };
    // One base at a time: a large one fits into memory once.
    await model.dispose();
    const uncut = await loadBase(checkpoint, platform, { adapter, weights });
    cleanUp.push(() => uncut.model.dispose());
    const whole = await measureWhole(uncut.model, options.quick);
    const { traffic } = provider;
    const { idleMsPerToken } = remote;
    const { vectorsPerKey } = provider.welcome;
    const bundleBytes = made.bundle.length;
    return reportCase(each, shape, {
      measured,
      whole,
      traffic,
      vectorsPerKey,
      idleMsPerToken,
      bundleBytes,
      groups: groups.length,
      weights,
      times,
      peaks,
    });
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}

/** Quantizing is done once for a checkpoint, and timed apart. */
async function loadBase(
  checkpoint: Checkpoint,
  platform: Platform,
  options: Pick<LoadOptions, "deltas" | "adapter"> & { readonly weights: WeightFormat },
): Promise<{ model: CausalLm; loadMs: number; quantizeMs: number }> {
  const start = performance.now();
  let quantizeMs = 0;
  const model = await CausalLm.load(checkpoint, platform.tensors, {
    ...options,
    weightCache: nodeFileCache(join(benchCache(), "weights")),
    onPrepare({ step }) {
      if (step === "quantizing") quantizeMs = performance.now() - start;
    },
  });
  return { model, loadMs: performance.now() - start - quantizeMs, quantizeMs };
}

/** Milliseconds since the last call. */
function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const elapsed = performance.now() - last;
    last += elapsed;
    return elapsed;
  };
}
