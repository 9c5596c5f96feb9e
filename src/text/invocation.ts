/**
 * Whether a provider may say where its activated LoRA begins to act. It sees for how many tokens it is asked, so the
 * place of an invocation that people may write would tell it where in a prompt they wrote it, and with an invocation of its
 * choice whether they did. Only control tokens stand for nothing that people write. What a chat template writes is not
 * enough: people may write the same words, and a bundle may bring the template.
 */

import type { Checkpoint } from "../weights/checkpoint.ts";
import { isControlToken } from "./control-text.ts";
import { hasTokenizer, loadTokenizer } from "./tokenizer.ts";

/**
 * The text of an invocation that may occur in what people write; undefined: this one can't.
 * @param checkpoint with what the adapter changes about text
 */
export async function invocationInText(
  checkpoint: Checkpoint,
  invocation: readonly number[],
): Promise<string | undefined> {
  // Without a tokenizer the ids are all that there is: nothing says which of them people write.
  if (!(await hasTokenizer(checkpoint))) return undefined;
  const tokenizer = await loadTokenizer(checkpoint);
  if (invocation.every((id) => isControlToken(tokenizer, id))) return undefined;
  return tokenizer.detokenize(invocation, { skipSpecialTokens: false });
}
