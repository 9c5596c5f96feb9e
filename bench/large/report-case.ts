// What is printed for one shape.
import type { Traffic } from "../../src/client/client-connection.ts";
import type { WeightFormat } from "../../src/model/weights/weight-source.ts";
import type { Shape } from "../../tools/checkpoint/shapes.ts";
import { formatBytes, formatMs, markdownTable, type Section, significant } from "../harness.ts";
import { type Measured, PARTS, PROMPT_TOKENS, quantiles, type Steps } from "./measure-modes.ts";
import { type LargeCase, parametersOf } from "./seeded-model.ts";

/** Of the issue: private decode steps against plaintext ones. */
const TARGET_RATIO = 1.1;

/** Columns of docs/performance.md, *Large shapes*. */
const DOCUMENTED = [
  "shape",
  "adapter",
  "load",
  "decode: plaintext LoRA in one graph, same engine, private",
  "prompt of 128, in the same order",
  "peak memory, client, provider",
  "a token up, down, keys",
];

export interface CaseResult {
  readonly measured: Measured;
  /** The base in one graph, the adapter inside it. */
  readonly whole: Pick<Steps, "prefill" | "decode">;
  readonly traffic: Traffic;
  readonly vectorsPerKey: number;
  /** Of making masks, a token. */
  readonly idleMsPerToken: number;
  readonly bundleBytes: number;
  readonly groups: number;
  readonly weights: WeightFormat;
  /** Milliseconds; quantizeMs is 0 where the quantized copy was there. */
  readonly times: Readonly<
    Record<"fingerprintMs" | "bundleMs" | "connectMs" | "loadMs" | "quantizeMs", number>
  >;
  /** Bytes. */
  readonly peaks: { readonly client: number; readonly provider: number };
}

export function reportCase(each: LargeCase, shape: Shape, result: CaseResult): Section {
  const { measured, times, peaks, groups } = result;
  const { plaintext, private: privately } = measured.steps;
  const table = markdownTable(
    [
      "mode",
      "decode, ms/token 10 %",
      "median",
      "90 %",
      "in the model",
      "before waiting",
      "waiting",
      `prefill of ${PROMPT_TOKENS}`,
    ],
    [
      row("plaintext LoRA, same segments", plaintext),
      row("**private**", privately),
      row("plaintext LoRA, one graph without cuts", result.whole),
    ],
  );
  const [plain, hidden, uncut] = [plaintext, privately, result.whole].map(({ decode }) => median(decode));
  const ratio = hidden / plain;
  // A text without pauses pays for its masks too.
  const sustained = (hidden + result.idleMsPerToken) / plain;
  const prefill = median(privately.prefill) / median(plaintext.prefill);
  const perToken = (now: number, before: number) => formatBytes((now - before) / privately.decode.length);
  const up = perToken(result.traffic.bytesUp, measured.before.bytesUp);
  const down = perToken(result.traffic.bytesDown, measured.before.bytesDown);
  const { keys, keyBytes } = result.traffic;
  const keyShare = formatBytes(keyBytes / keys / result.vectorsPerKey);
  const quantized = times.quantizeMs === 0 ? "was done before" : formatMs(times.quantizeMs);
  const facts: [string, string][] = [
    ["decode, ratio of the medians", `${ratio.toFixed(3)}× (target ≤ ${TARGET_RATIO}: ${verdict(ratio)})`],
    ["decode, against one graph without cuts", `${(hidden / uncut).toFixed(3)}×`],
    [
      "with the masks of idle time added",
      `${sustained.toFixed(3)}×, ${result.idleMsPerToken.toFixed(2)} ms/token`,
    ],
    ["prefill, ratio of the medians", `${prefill.toFixed(3)}×`],
    [
      "first decode steps, which do not count above, median",
      `${[plaintext, privately].map(({ warmUp }) => formatMs(median(warmUp))).join(" plaintext, ")} private; the first private one ${formatMs(privately.warmUp[0])}`,
    ],
    ["per private token", `${up} up, ${down} down, ${groups} queries in ${measured.exchanges} exchanges`],
    [
      "keys",
      `${formatBytes(keyBytes / keys)} for ${result.vectorsPerKey} tokens: ${keyShare} a token; ${keys} so far`,
    ],
    [
      "largest change of a logit; root mean square",
      `${significant(measured.largestError)}; ${significant(measured.error)}`,
    ],
    ["same likeliest token", `${measured.sameChoice} of ${privately.decode.length} steps`],
    ["peak memory, client", `${formatBytes(peaks.client)} (one base, both modes)`],
    ["peak memory, provider", formatBytes(peaks.provider)],
    ["base model ready", formatMs(times.loadMs)],
    ["bundle fetched and prepared", `${formatMs(times.connectMs)}, ${formatBytes(result.bundleBytes)}`],
    ["once: quantizing the base", result.weights === "original" ? "not done" : quantized],
    [
      "once: fingerprint of the base; making the bundle",
      `${formatMs(times.fingerprintMs)}; ${formatMs(times.bundleMs)}`,
    ],
  ];
  const what = [
    `${significant(parametersOf(shape) / 1e9)} billion parameters, weights ${result.weights};`,
    `${each.modules.join(", ")} adapted at rank ${each.rank} in ${groups} groups.`,
    `Masks are made in idle time, before each block of steps. Logits have a spread of about 2.`,
  ];
  const prefills = [result.whole, plaintext, privately].map(({ prefill }) => formatMs(median(prefill)));
  const documented = markdownTable(DOCUMENTED, [
    [
      `${each.shape}, ${shape.layers} layers`,
      `${each.modules.length === 7 ? "all seven modules" : each.modules.join(", ")}, r = ${each.rank}`,
      formatMs(times.loadMs),
      [uncut, plain, hidden].map(formatMs).join(", "),
      prefills.join(", "),
      `${formatBytes(peaks.client)}, ${formatBytes(peaks.provider)}`,
      `${up}, ${down}, ${keyShare}`,
    ],
  ]);
  return {
    title: `${each.shape}, ${shape.layers} layers`,
    body: [
      what.join(" "),
      table,
      markdownTable(["what", "measured"], facts),
      "As in docs/performance.md:",
      documented,
    ].join("\n\n"),
  };
}

function row(
  name: string,
  { prefill, decode, split }: Pick<Steps, "prefill" | "decode"> & Partial<Steps>,
): string[] {
  const times = quantiles(decode).map((ms) => ms.toFixed(1));
  const parts = PARTS.map((part) => (split ? median(split[part]).toFixed(1) : "-"));
  return [name, ...times, ...parts, formatMs(median(prefill))];
}

const median = (samples: readonly number[]) => quantiles(samples)[1];
const verdict = (ratio: number) => (ratio <= TARGET_RATIO ? "met" : "**not met**");
