/** An adapter's text side where it is used: a manifest's text is checked against the base model, and joined to it. */

import { TacetError } from "../base/errors.ts";
import type { AdapterText, AddedControlToken } from "../weights/adapter-text.ts";
import { type Checkpoint, withAdapterText } from "../weights/checkpoint.ts";
import { quoteName } from "../weights/json-file.ts";
import { isControlToken } from "./control-text.ts";
import { hasTokenizer, loadTokenizer, type Tokenizer } from "./tokenizer.ts";

/**
 * The base model with the text of a bundle's manifest, which is not trusted: ends and tokens must be control tokens, so
 * that where an answer ends, and how many tokens a prompt has, says no more of what is written than it does anyway.
 *
 * @param vocabSize rows of the base model's embeddings
 * @throws TacetError bad_bundle
 */
export async function joinAdapterText(
  checkpoint: Checkpoint,
  text: AdapterText | undefined,
  vocabSize: number,
): Promise<Checkpoint> {
  // Without a tokenizer there is no text, and nothing that the ids could be checked against.
  if (text === undefined || !(await hasTokenizer(checkpoint))) return checkpoint;
  const fault = await adapterTextFault(text, checkpoint, vocabSize);
  if (fault === undefined) return withAdapterText(checkpoint, text);
  throw new TacetError("bad_bundle", `not a usable bundle: it ${fault}`, {
    hint: "the provider must make the bundle again for this base model",
  });
}

/** What is wrong with an adapter's text on this base model, to be said behind "it". */
export async function adapterTextFault(
  text: AdapterText,
  checkpoint: Checkpoint,
  vocabSize: number,
): Promise<string | undefined> {
  const { addedTokens = [], endIds = [], specialTokens = {} } = text;
  const large = [...endIds, ...addedTokens.map(({ id }) => id)].find((id) => id >= vocabSize);
  if (large !== undefined)
    return `has the token id ${large}, outside the base model's vocabulary of ${vocabSize}`;
  const base = await loadTokenizer(checkpoint);
  for (const token of addedTokens) {
    if (!isFree(token, base)) return `gives the token id ${token.id}, which is in use, another meaning`;
  }
  const tokenizer = await loadTokenizer(withAdapterText(checkpoint, { addedTokens }));
  const word = endIds.find((id) => !isControlToken(tokenizer, id));
  if (word !== undefined) return `ends answers at the token id ${word}, which is no control token`;
  const strange = Object.values(specialTokens).find((token) => tokenizer.idOf(token) === undefined);
  if (strange !== undefined) return `names the special token ${quoteName(strange)}, which is no token`;
  return undefined;
}

/** Whether the base model's tokenizer has neither the text, nor an ordinary word at the id. */
function isFree({ id, text }: AddedControlToken, base: Tokenizer): boolean {
  if (base.idOf(text) !== undefined) return false;
  const present = base.detokenize([id], { skipSpecialTokens: false });
  return present === "" || isControlToken(base, id) || RESERVED.test(present);
}

/** What families call tokens that they keep in reserve without marking them as special. */
const RESERVED = /^[<[]\|?(?:reserved|unused|extra|placeholder|dummy)[^\s<>[\]]*[>\]]$/i;
