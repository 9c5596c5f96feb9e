// The embedded model with this version and others: decode steps of the same answers, and a prompt, each against
// plaintext LoRA. Each version has a process, as it has at its users, and they take turns of an answer each.
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { nextMessage } from "./child-message.ts";
import { type BenchOptions, markdownTable, quantile, type Section, WITH_TYPESCRIPT } from "./harness.ts";
import type { Version } from "./versions.ts";
import type { Answered, Entry, Kind, Order } from "./versus-tokens-child.ts";

const CHILD = fileURLToPath(new URL("versus-tokens-child.ts", import.meta.url));
const LEXICON = fileURLToPath(new URL("../models/lexicon/", import.meta.url));
const LONG_PROMPT = 64;
const KINDS = ["private", "plaintext"] as const;

interface Side {
  readonly name: string;
  readonly child: ChildProcess;
  readonly times: Readonly<Record<Kind, { steps: number[]; prompts: number[] }>>;
}

export async function compareTokens(versions: readonly Version[], options: BenchOptions): Promise<Section> {
  const { quick, rounds = quick ? 1 : 4 } = options;
  const all = lexiconEntries();
  const entries = quick ? all.slice(0, 2) : all;
  const sides: Side[] = [];
  try {
    for (const { name, folder } of versions) {
      const child = fork(CHILD, [folder], { execArgv: [...WITH_TYPESCRIPT] });
      const none = () => ({ steps: [], prompts: [] });
      sides.push({ name, child, times: { private: none(), plaintext: none() } });
      await nextMessage(child, "load", () => {});
    }
    const turns = [all[0], ...Array.from({ length: rounds }, () => entries).flat()];
    for (const [turn, entry] of turns.entries()) {
      // Who comes first has had the longer pause.
      for (const { child, times } of turn % 2 === 0 ? sides : sides.toReversed()) {
        for (const kind of KINDS) {
          const order: Order = { kind, entry, longPrompt: LONG_PROMPT };
          const { steps, prompt } = (await nextMessage(child, "answer", () => child.send(order))) as Answered;
          if (turn === 0) continue;
          times[kind].steps.push(...steps);
          times[kind].prompts.push(prompt);
        }
      }
    }
    return { title: "The embedded model on loopback", body: table(sides) };
  } finally {
    for (const { child } of sides) if (child.connected) child.disconnect();
  }
}

/** What the embedded model is asked. */
function lexiconEntries(): readonly Entry[] {
  const { entries } = JSON.parse(readFileSync(`${LEXICON}expected.json`, "utf8")) as {
    entries: { prompt_ids: number[]; adapter: { ids: number[] } }[];
  };
  return entries.map(({ prompt_ids, adapter }) => ({ prompt: prompt_ids, answer: adapter.ids }));
}

/** Ratios are to the first version in the same column. */
function table(sides: readonly Side[]): string {
  const figures = sides.map(({ times: { private: hidden, plaintext } }) => [
    quantile(plaintext.steps, 0.5),
    quantile(hidden.steps, 0.1),
    quantile(hidden.steps, 0.5),
    hidden.steps.reduce((sum, ms) => sum + ms, 0) / hidden.steps.length,
    quantile(plaintext.prompts, 0.5),
    quantile(hidden.prompts, 0.5),
  ]);
  const rows = sides.map(({ name, times }, i) => [
    name,
    String(times.private.steps.length),
    ...figures[i].map((ms, column) => {
      const digits = column < 4 ? 2 : 1;
      return i === 0
        ? ms.toFixed(digits)
        : `${ms.toFixed(digits)} (${(ms / figures[0][column]).toFixed(2)}×)`;
    }),
    `${(figures[i][2] / figures[i][0]).toFixed(2)}×`,
  ]);
  const head = [
    ...["version", "steps", "plaintext LoRA, ms a token", "private: fastest tenth", "median", "mean"],
    ...[`prompt of ${LONG_PROMPT}, plaintext`, "private", "private token / plaintext"],
  ];
  return markdownTable(head, rows);
}
