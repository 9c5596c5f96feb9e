/** The table in docs/models.md of models that keep fewer of float32's likeliest tokens than is wished for, with the reason. */

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const DOCUMENT = fileURLToPath(new URL("../../docs/models.md", import.meta.url));
const [BEGIN, END] = [
  "<!-- rounding: src/model/golden-hf.test.ts writes this -->\n",
  "\n<!-- rounding end -->",
];
/** Of 12 steps. */
export const KEPT_ENOUGH = 9;

/** What rounding did to a model's greedy steps. */
export interface Rounded {
  /** As `goldenHfNames` has it. */
  readonly name: string;
  readonly weights: "int8" | "int4";
  readonly steps: number;
  readonly kept: number;
  /** How many a predicted error loses. */
  readonly expected: number;
  /** Of the tokens that were lost, in standard deviations of the predicted error. */
  readonly margins: readonly number[];
  readonly predictedError: number;
}

/** What the document says was kept, by model and weights. */
export function documentedKept(): Map<string, number> {
  return new Map(
    tableText()
      .split("\n")
      .slice(2)
      .map((line) => {
        const [, name, weights, kept] = line.split("|").map((cell) => cell.trim().replaceAll("`", ""));
        return [keyOf({ name, weights }), Number.parseInt(kept, 10)];
      }),
  );
}

export function keyOf({ name, weights }: { readonly name: string; readonly weights: string }): string {
  return `${name} ${weights}`;
}

/** Writes those that keep too few into the document. */
export function writeRoundingTable(all: readonly Rounded[]): void {
  const text = readFileSync(DOCUMENT, "utf8");
  const [from, to] = bounds(text);
  writeFileSync(DOCUMENT, text.slice(0, from) + roundingTable(all) + text.slice(to));
}

function roundingTable(all: readonly Rounded[]): string {
  const head = [
    "model",
    "`--weights`",
    "kept",
    "expected to be lost",
    "margins of those that were",
    "error of the logits, predicted",
  ];
  const rows = all
    .filter(({ kept }) => kept < KEPT_ENOUGH)
    .map(({ name, weights, steps, kept, expected, margins, predictedError }) => [
      `\`${name}\``,
      `\`${weights}\``,
      `${kept} of ${steps}`,
      expected.toFixed(1),
      `${margins
        .toSorted((a, b) => a - b)
        .map((margin) => margin.toFixed(2))
        .join(", ")} σ`,
      predictedError.toFixed(2),
    ]);
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

function tableText(): string {
  const text = readFileSync(DOCUMENT, "utf8");
  return text.slice(...bounds(text));
}

function bounds(text: string): [number, number] {
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from)
    throw new Error("docs/models.md has lost the marks of its table of rounded models");
  return [from + BEGIN.length, to];
}
