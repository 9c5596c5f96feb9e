/** The prompt as token ids: from words, from stdin, from ids. */
import { TacetError } from "../../base/errors.ts";
import { loadChatTemplate } from "../../text/chat-template.ts";
import { loadEosIds } from "../../text/end-ids.ts";
import { hasTokenizer, loadTokenizer, type Tokenizer } from "../../text/tokenizer.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import type { TemplateFlags } from "./template-options.ts";

export interface PromptOptions extends TemplateFlags {
  readonly ids?: readonly number[];
  readonly raw?: boolean;
  readonly system?: string;
}

/** A checkpoint's text side. A model may come without a tokenizer: it then takes and gives ids. */
export interface TextSide {
  readonly tokenizer: Tokenizer | undefined;
  readonly eosIds: readonly number[];
}

/** More text than any context holds. */
const MAX_STDIN_BYTES = 16 << 20;

export async function openTextSide(checkpoint: Checkpoint): Promise<TextSide> {
  if (!(await hasTokenizer(checkpoint))) {
    return { tokenizer: undefined, eosIds: await loadEosIds(checkpoint) };
  }
  const tokenizer = await loadTokenizer(checkpoint);
  return { tokenizer, eosIds: tokenizer.eosIds };
}

/**
 * Checked before a model is loaded, so that a mistake costs no time.
 * @throws TacetError bad_argument
 */
export async function readPrompt(
  words: readonly string[],
  { ids, raw, system, templateArg }: PromptOptions,
): Promise<string> {
  if ((raw || ids !== undefined) && templateArg !== undefined) {
    throw new TacetError(
      "bad_argument",
      "--raw and --ids go past the chat template, and exclude --template-arg",
    );
  }
  if (raw && system !== undefined)
    throw new TacetError("bad_argument", "--raw and --system exclude each other");
  if (ids !== undefined) {
    if (words.length > 0) throw new TacetError("bad_argument", "--ids and a prompt exclude each other");
    if (raw || system !== undefined) {
      throw new TacetError("bad_argument", "--raw and --system are about text, and exclude --ids");
    }
    return "";
  }
  const text = words.length > 0 ? words.join(" ") : await readStdin();
  if (text !== "") return text;
  throw new TacetError("bad_argument", "there is no prompt", {
    hint: "give words, pipe text into stdin, or give token ids with --ids",
  });
}

async function readStdin(): Promise<string> {
  if (process.stdin.isTTY) return "";
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of process.stdin) {
    size += (part as Buffer).length;
    if (size > MAX_STDIN_BYTES) throw new TacetError("bad_argument", "the prompt on stdin is too long");
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts)
    .toString("utf8")
    .replace(/\r?\n$/, "");
}

/**
 * @param atMost tokens that the context has
 * @throws TacetError bad_tokenizer, bad_argument, context_overflow
 */
export async function promptIds(
  checkpoint: Checkpoint,
  { tokenizer }: TextSide,
  text: string,
  { ids, raw, system, templateArg }: PromptOptions,
  atMost?: number,
): Promise<readonly number[]> {
  if (ids !== undefined) return ids;
  // Says what is missing and what to do.
  const encoder = tokenizer ?? (await loadTokenizer(checkpoint));
  if (raw) return encoder.encode(text, { atMost });
  const template = await loadChatTemplate(checkpoint).catch((error: unknown) => {
    if (!(error instanceof TacetError) || error.code !== "bad_tokenizer") throw error;
    throw new TacetError(error.code, error.message, { hint: "--raw gives the model the text as it is" });
  });
  const messages = [
    ...(system === undefined ? [] : [{ role: "system", content: system }]),
    { role: "user", content: text },
  ];
  return encoder.encode(template.render(messages, { variables: templateArg }), {
    addSpecialTokens: false,
    atMost,
  });
}

/** @throws TacetError bad_argument for ids that the model does not have */
export function checkIds(ids: readonly number[], vocabSize: number): void {
  if (ids.every((id) => id < vocabSize)) return;
  throw new TacetError("bad_argument", `a token id is outside the model's vocabulary of ${vocabSize}`);
}
