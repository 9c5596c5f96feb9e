// Published models' shapes with seeded weights: prefill and decode, plaintext LoRA against private through a provider
// process on loopback. One loaded base serves both, in blocks of steps that take turns, so that a neighbour on the
// machine hits both alike. Every mode reads the same ids: what they are does not change the time.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { RemoteAdapter } from "../src/client/remote-adapter.ts";
import { RemoteProvider } from "../src/client/remote-provider.ts";
import { CausalLm } from "../src/model/causal-lm.ts";
import { fitAdapter } from "../src/model/fit-adapter.ts";
import { LocalLora } from "../src/model/local-lora.ts";
import { nodeFileTree, nodePlatform, writeAtomically } from "../src/platform/node.ts";
import { BUNDLE_FILE, PRIVATE_FILE } from "../src/provider/served-adapter.ts";
import { systemRandom } from "../src/ring/prng.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import {
  type BenchOptions,
  formatBytes,
  formatMs,
  markdownTable,
  type Section,
  significant,
} from "./harness.ts";
import { type Mode, measureModes, PROMPT_TOKENS, quantiles, type Steps } from "./large/measure-modes.ts";
import { CASES, type LargeCase, parametersOf, seededFolders } from "./large/seeded-model.ts";
import { SwitchedDeltas } from "./large/switched-deltas.ts";
import { peakMemory, resetPeakMemory, startProvider } from "./provider-process.ts";

/** Of the issue: private decode steps against plaintext ones. */
const TARGET_RATIO = 1.1;

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
  resetPeakMemory();
  const clock = stopwatch();
  const platform = nodePlatform();
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const adapter = await openLoraAdapter(nodeFileTree(adapterFolder));
  const groups = fitAdapter(adapter, checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const fingerprintMs = clock();
  const { modules } = adapter;
  const input = { adapter: "bench", baseFingerprint, groups, modules, output: "public-basis" } as const;
  const made = await createBundle(input, systemRandom);
  const bundleMs = clock();

  const state = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  const cleanUp: (() => unknown)[] = [() => rmSync(state, { recursive: true, force: true })];
  try {
    await writeAtomically(join(state, BUNDLE_FILE), made.bundle, 0o644, state);
    await writeAtomically(join(state, PRIVATE_FILE), made.privateState, 0o600, state);
    const { child, url } = await startProvider(state);
    cleanUp.push(() => child.kill());
    clock();
    const { provider, bundle } = await RemoteProvider.connect(platform, { url, baseFingerprint });
    cleanUp.push(() => provider.close());
    const remote = new RemoteAdapter(bundle, provider, provider.welcome.limits);
    cleanUp.push(() => remote.dispose());
    const connectMs = clock();
    const local = new LocalLora(adapter, groups);
    const deltas = new SwitchedDeltas<Mode>({ plaintext: local, private: remote }, "plaintext");
    const model = await CausalLm.load(checkpoint, platform.tensors, { deltas });
    cleanUp.push(() => model.dispose());
    const loadMs = clock();

    const measured = await measureModes(model, deltas, remote, provider, options.quick);
    const { plaintext, private: privately } = measured.steps;
    const [plain, hidden] = [quantiles(plaintext.decode), quantiles(privately.decode)];
    const ratio = hidden[1] / plain[1];
    // Masks are made in idle time; a text without pauses pays for them too.
    const sustained = (hidden[1] + remote.idleMsPerToken) / plain[1];
    const { traffic } = provider;
    const privateTokens = measured.privateDecodeTokens;
    const row = (name: string, { prefill, decode }: Steps) => [
      name,
      ...quantiles(decode).map((ms) => ms.toFixed(1)),
      formatMs(quantiles(prefill)[1]),
    ];
    const table = markdownTable(
      ["mode", "decode, ms/token 10 %", "median", "90 %", `prefill of ${PROMPT_TOKENS}`],
      [row("plaintext LoRA, same segments", plaintext), row("**private**, public basis", privately)],
    );
    const facts = markdownTable(
      ["", ""],
      [
        [
          "ratio of the medians",
          `${ratio.toFixed(3)}× (target ≤ ${TARGET_RATIO}: ${ratio <= TARGET_RATIO ? "met" : "**not met**"})`,
        ],
        [
          "the same with masks made in idle time added",
          `${sustained.toFixed(3)}×, ${remote.idleMsPerToken.toFixed(2)} ms/token`,
        ],
        [
          "prefill, private against plaintext",
          `${(quantiles(privately.prefill)[1] / quantiles(plaintext.prefill)[1]).toFixed(3)}×`,
        ],
        [
          "per private token",
          `${formatBytes((traffic.bytesUp - measured.before.bytesUp) / privateTokens)} up, ${formatBytes((traffic.bytesDown - measured.before.bytesDown) / privateTokens)} down, ${groups.length} round trips`,
        ],
        [
          "largest change of a logit, root mean square",
          `${significant(measured.largestError)}, ${significant(measured.error)} (logits spread over about 2)`,
        ],
        ["same first choice", `${measured.sameChoice} of ${measured.steps.private.decode.length} steps`],
        [
          "client's peak memory",
          `${formatBytes(peakMemory(process.pid))} (both modes; the base is loaded once)`,
        ],
        ["provider's peak memory", formatBytes(peakMemory(child.pid!))],
        ["time to load the base", formatMs(loadMs)],
        [
          "time to connect, fetch and prepare the bundle",
          `${formatMs(connectMs)}, ${formatBytes(made.bundle.length)}`,
        ],
        [
          "once: fingerprint of the base; making the bundle",
          `${formatMs(fingerprintMs)}; ${formatMs(bundleMs)}`,
        ],
      ],
    );
    const parameters = `${significant(parametersOf(shape) / 1e9)} billion parameters`;
    const adapted = `${each.modules.join(", ")} adapted, rank ${each.rank}, ${groups.length} groups`;
    const title = `${each.shape}, ${shape.layers} layers`;
    return { title, body: [`${parameters}; ${adapted}.`, table, facts].join("\n\n") };
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
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
