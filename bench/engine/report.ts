// What is printed for one shape.
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import type { Shape } from "../../tools/checkpoint/shapes.ts";
import { formatBytes, formatMs, markdownTable, quantile, type Section, significant } from "../harness.ts";
import { type LargeCase, parametersOf } from "../seeded-model.ts";
import type { Turn } from "./child.ts";
import type { Counters, EngineFacts, EngineName } from "./engines.ts";
import { LLAMA_PACKAGE } from "./llama-package.ts";
import type { PhaseProfile } from "./profile.ts";

/** Milliseconds and bytes. */
export interface EngineResult {
  readonly name: EngineName;
  readonly loadMs: number;
  /** The turn that does not count. */
  readonly first: Turn;
  readonly turns: readonly Turn[];
  /** Of each long prompt. */
  readonly long: readonly number[];
  readonly peak: number;
  readonly facts: EngineFacts;
  /** llama.cpp, that had turns with this one. */
  readonly reference: Omit<EngineResult, "reference"> | undefined;
  /** Of all processors' time, what other processes took while turns were measured. */
  readonly othersPart: number;
}

interface RunFacts {
  readonly weights: WeightFormat;
  readonly rounds: number;
  /** Why llama.cpp is not among them. */
  readonly missing: string | undefined;
  readonly short: number;
  readonly long: number;
  readonly provider?: {
    readonly peak: number;
    readonly fingerprintMs: number;
    readonly bundleMs: number;
    readonly bundleBytes: number;
  };
}

const TITLES: Readonly<Record<EngineName, string>> = {
  llama: "llama.cpp, Q4_0, head Q8_0",
  graph: "Tacet, the base in one graph",
  lora: "Tacet, LoRA inside the graph",
  cut: "Tacet, LoRA at a private run's cuts",
  private: "**Tacet, private**",
};

export function reportEngines(
  each: LargeCase,
  shape: Shape,
  results: readonly EngineResult[],
  run: RunFacts,
): Section {
  const columns = ["a token", `prompt of ${run.short}`, `prompt of ${run.long}`];
  const times = (result: EngineResult, part: number) =>
    [stepsOf, promptsOf, longOf].map((samplesOf) => {
      const { reference } = result;
      if (samplesOf(result).length === 0) return "";
      const middle = quantile(samplesOf(result), part);
      const ratio = reference ? ` (${(middle / quantile(samplesOf(reference), part)).toFixed(2)}×)` : "";
      return `${formatMs(middle)}${ratio}`;
    });
  const table = markdownTable(
    ["median", ...columns, "peak memory", "load"],
    results.map((result) => [
      TITLES[result.name],
      ...times(result, 0.5),
      formatBytes(result.peak),
      formatMs(result.loadMs),
    ]),
  );
  const undisturbed = markdownTable(
    ["fastest tenth", ...columns],
    results.map((result) => [TITLES[result.name], ...times(result, 0.1)]),
  );
  const parts = markdownTable(
    ["a token, on the average", "in the model", "before waiting", "waiting"],
    results
      .filter(({ name }) => name !== "llama")
      .map((result) => [
        TITLES[result.name],
        ...(["modelMs", "beginMs", "waitMs"] as const).map((part) => formatMs(perStep(result, part) ?? 0)),
      ]),
  );
  const what = [
    `${significant(parametersOf(shape) / 1e9)} billion parameters, our weights ${run.weights}; ${each.modules.join(", ")}`,
    `adapted at rank ${each.rank}. Medians of ${run.rounds} rounds of turns; in brackets, times llama.cpp`,
    `(${LLAMA_PACKAGE}, Q4_0, head Q8_0). A token: behind a prompt of ${run.short}. Load: the second one, files in`,
    "memory, up to the first token. The fastest tenth is what others on the machine disturb least: they took",
    `${significant(100 * Math.max(...results.map(({ othersPart }) => othersPart)), 2)} % of the processors' time.`,
  ];
  const privately = results.find(({ name }) => name === "private");
  const openly = results.find(({ name }) => name === "lora");
  const facts = [
    ...(privately ? privateFacts(privately) : []),
    ...(privately && openly ? differences(privately.first.logits, openly.first.logits) : []),
    ...(run.provider ? providerFacts(run.provider) : []),
  ];
  return {
    title: `${each.shape}, ${shape.layers} layers`,
    body: [
      what.join(" "),
      ...(run.missing === undefined ? [] : [run.missing]),
      table,
      undisturbed,
      parts,
      ...(facts.length > 0 ? [markdownTable(["what", "measured"], facts)] : []),
    ].join("\n\n"),
  };
}

function privateFacts(result: EngineResult): [string, string][] {
  const { groups = 0, vectorsPerKey = 0, idleMsPerToken = 0 } = result.facts;
  const [up = 0, down = 0, exchanges = 0] = (["bytesUp", "bytesDown", "exchanges"] as const).map((name) =>
    perStep(result, name),
  );
  const keys = result.turns.reduce((sum, { spent }) => sum + (spent.keys ?? 0), 0);
  const keyBytes = result.turns.reduce((sum, { spent }) => sum + (spent.keyBytes ?? 0), 0);
  const key =
    keys === 0
      ? "none came"
      : `${formatBytes(keyBytes / keys)}, ${formatBytes(keyBytes / keys / vectorsPerKey)} a token`;
  return [
    [
      "a private token",
      `${formatBytes(up)} up, ${formatBytes(down)} down, ${groups} queries in ${significant(exchanges)} exchanges`,
    ],
    [`a key, for ${vectorsPerKey} tokens`, key],
    ["masks of a token, made in idle time, not counted above", formatMs(idleMsPerToken)],
  ];
}

function providerFacts(provider: NonNullable<RunFacts["provider"]>): [string, string][] {
  const { peak, fingerprintMs, bundleMs, bundleBytes } = provider;
  return [
    ["peak memory of the provider", formatBytes(peak)],
    [
      "once: fingerprint of the base; making the bundle",
      `${formatMs(fingerprintMs)}; ${formatMs(bundleMs)}, ${formatBytes(bundleBytes)}`,
    ],
  ];
}

/** Of the private logits from those with the same adapter in plaintext. */
function differences(got: readonly Float32Array[], want: readonly Float32Array[]): [string, string][] {
  let [largest, squares, count, same] = [0, 0, 0, 0];
  for (const [i, logits] of want.entries()) {
    for (let k = 0; k < logits.length; k++) {
      const error = Math.abs(got[i][k] - logits[k]);
      largest = Math.max(largest, error);
      squares += error ** 2;
    }
    count += logits.length;
    if (indexOfLargest(got[i]) === indexOfLargest(logits)) same++;
  }
  return [
    [
      "private logits against plaintext LoRA's, of a spread of about 2: largest change; root mean square",
      `${significant(largest)}; ${significant(Math.sqrt(squares / count))}`,
    ],
    ["same likeliest token", `${same} of ${want.length}`],
  ];
}

function indexOfLargest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

type Timed = Pick<EngineResult, "turns" | "long">;

const stepsOf = ({ turns }: Timed) => turns.flatMap(({ steps }) => steps);
const promptsOf = ({ turns }: Timed) => turns.map(({ prompt }) => prompt);
const longOf = ({ long }: Timed) => long;

/** Undefined where the engine does not count it. */
function perStep(result: EngineResult, name: keyof Counters): number | undefined {
  if (result.turns[0]?.spent[name] === undefined) return undefined;
  return result.turns.reduce((sum, { spent }) => sum + (spent[name] ?? 0), 0) / stepsOf(result).length;
}

export function reportProfile(name: EngineName, phases: readonly PhaseProfile[]): string {
  return phases
    .map(({ phase, wallMs, runMs, runs, operators, functions }) => {
      const inOperators = operators.reduce((sum, { ms }) => sum + ms, 0);
      const row = (what: string, calls: string, ms: number) => [
        what,
        calls,
        ms.toFixed(3),
        `${((100 * ms) / wallMs).toFixed(1)} %`,
      ];
      const table = markdownTable(
        ["operator", "calls", "ms", "share"],
        [
          ...operators.map(({ name, calls, ms }) => row(name, calls.toFixed(0), ms)),
          row("in runs, outside operators", "", runMs - inOperators),
          row("outside runs", "", wallMs - runMs),
        ],
      );
      const share = ({ ms }: { ms: number }) => ms > 0.005 * wallMs;
      const byFunction = markdownTable(
        ["function of the main thread", "", "ms", "share"],
        functions.filter(share).map(({ name, ms }) => row(name, "", ms)),
      );
      const pass = `${formatMs(wallMs)}, ${significant(runs)} runs of sessions, profiled`;
      return `${TITLES[name]}, ${phase}: ${pass}\n\n${table}\n\n${byFunction}`;
    })
    .join("\n\n");
}
