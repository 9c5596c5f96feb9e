// What is printed for one shape.
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import type { Shape } from "../../tools/checkpoint/shapes.ts";
import { formatBytes, formatMs, markdownTable, type Section, significant } from "../harness.ts";
import { quantiles } from "../large/measure-modes.ts";
import { type LargeCase, parametersOf } from "../large/seeded-model.ts";
import type { EngineFacts, EngineName } from "./engines.ts";
import { LLAMA_PACKAGE } from "./llama-package.ts";
import type { PhaseProfile } from "./profile.ts";

/** Milliseconds of each step and prompt, bytes. */
export interface EngineResult {
  readonly name: EngineName;
  readonly loadMs: number;
  readonly steps: readonly number[];
  readonly short: readonly number[];
  readonly long: readonly number[];
  readonly peak: number;
  readonly facts: EngineFacts;
}

interface RunFacts {
  readonly weights: WeightFormat;
  readonly rounds: number;
  readonly short: number;
  readonly long: number;
  readonly providerPeak: number | undefined;
}

const TITLES: Readonly<Record<EngineName, string>> = {
  llama: "llama.cpp, Q4_0, head Q8_0",
  graph: "Tacet, the base in one graph",
  lora: "Tacet, LoRA inside the graph",
  private: "**Tacet, private**",
};

export function reportEngines(
  each: LargeCase,
  shape: Shape,
  results: readonly EngineResult[],
  run: RunFacts,
): Section {
  const reference = results.find(({ name }) => name === "llama");
  const table = markdownTable(
    [
      "",
      "a token",
      `prompt of ${run.short}`,
      `prompt of ${run.long}`,
      "peak memory",
      "load, to the first token",
    ],
    results.map((result) => [
      TITLES[result.name],
      withRatio(result.steps, reference?.steps),
      withRatio(result.short, reference?.short),
      withRatio(result.long, reference?.long),
      formatBytes(result.peak),
      formatMs(result.loadMs),
    ]),
  );
  const spread = markdownTable(
    ["a token", "10 %", "median", "90 %"],
    results.map(({ name, steps }) => [TITLES[name], ...quantiles(steps).map(formatMs)]),
  );
  const what = [
    `${significant(parametersOf(shape) / 1e9)} billion parameters, our weights ${run.weights}; ${each.modules.join(", ")}`,
    `adapted at rank ${each.rank}. Medians of ${run.rounds} rounds of turns; in brackets, times llama.cpp`,
    `(${LLAMA_PACKAGE}). A token: behind a prompt of ${run.short}. Load: the second one, files in memory.`,
  ];
  const { idleMsPerToken } = results.find(({ name }) => name === "private")?.facts ?? {};
  const more = [
    ...(idleMsPerToken === undefined
      ? []
      : [
          `Masks are made in idle time, before each prompt and each run of steps: ${formatMs(idleMsPerToken)} a token.`,
        ]),
    ...(run.providerPeak === undefined
      ? []
      : [`Peak memory of the provider: ${formatBytes(run.providerPeak)}.`]),
  ];
  return {
    title: `${each.shape}, ${shape.layers} layers`,
    body: [what.join(" "), table, spread, ...more].join("\n\n"),
  };
}

export function reportProfile(name: EngineName, phases: readonly PhaseProfile[]): string {
  return phases
    .map(({ phase, wallMs, runMs, runs, operators }) => {
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
      const pass = `${formatMs(wallMs)}, ${significant(runs)} runs of sessions, profiled`;
      return `${TITLES[name]}, ${phase}: ${pass}\n\n${table}`;
    })
    .join("\n\n");
}

/** 12.3 ms (1.08×). */
function withRatio(samples: readonly number[], reference: readonly number[] | undefined): string {
  const middle = median(samples);
  const ratio = reference === undefined ? "" : ` (${(middle / median(reference)).toFixed(2)}×)`;
  return `${formatMs(middle)}${ratio}`;
}

const median = (samples: readonly number[]) => quantiles(samples)[1];
