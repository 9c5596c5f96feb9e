/** Text for an audit, as sequences of ids: a file of the user, or what comes with the package. */
import { readFile } from "node:fs/promises";
import { TacetError } from "../../base/errors.ts";
import { errnoOf } from "../../platform/node.ts";
import { loadTokenizer } from "../../text/tokenizer.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { EMBEDDED_EXPECTED, PACKAGE_LICENSE } from "../shared/embedded.ts";

/** Tokens of one sequence. */
const SEQUENCE_TOKENS = 128;
const LEAST_TOKENS = 32;

interface Entries {
  readonly entries: readonly { prompt_ids: number[]; adapter: { ids: number[] } }[];
}

/**
 * @param file UTF-8 text; without one the embedded model's own answers (for that model) and the package's licence
 * @throws TacetError io_failed; bad_tokenizer if the model has none; bad_argument if there is too little text
 */
export async function auditText(
  checkpoint: Checkpoint,
  file: string | undefined,
  embedded: boolean,
): Promise<number[][]> {
  const path = file ?? PACKAGE_LICENSE;
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new TacetError("io_failed", `${path} cannot be read (${errnoOf(cause)})`);
  });
  const ids = (await loadTokenizer(checkpoint)).encode(text);
  const sequences: number[][] = [];
  for (let at = 0; at + 1 < ids.length; at += SEQUENCE_TOKENS)
    sequences.push(ids.slice(at, at + SEQUENCE_TOKENS));
  if (ids.length < LEAST_TOKENS) {
    throw new TacetError(
      "bad_argument",
      `the text has ${ids.length} tokens, at least ${LEAST_TOKENS} are needed`,
      {
        hint: "give a longer text with --text",
      },
    );
  }
  return file === undefined && embedded ? mix(await embeddedAnswers(), sequences) : sequences;
}

/** Prompts of the embedded model with the answers that its adapter gives. */
export async function embeddedAnswers(): Promise<number[][]> {
  const { entries } = JSON.parse(await readFile(EMBEDDED_EXPECTED, "utf8")) as Entries;
  return entries.map(({ prompt_ids, adapter }) => [...prompt_ids, ...adapter.ids]);
}

/** Sequences of both lists in turn, so that what is held out is like what is seen. */
function mix(a: readonly number[][], b: readonly number[][]): number[][] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => [a[i], b[i]])
    .flat()
    .filter((sequence) => sequence !== undefined);
}
