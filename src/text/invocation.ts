/**
 * Whether a provider may say where its activated LoRA begins to act. It sees for how many tokens it is asked, so the
 * place of an invocation that people may write would tell it where in a prompt they wrote it. An invocation of control
 * tokens, or one that the chat template writes, stands where it does whatever is said.
 */

import type { Checkpoint } from "../weights/checkpoint.ts";
import { isControlToken } from "./adapter-text.ts";
import { loadChatTemplate } from "./chat-template.ts";
import { hasTokenizer, loadTokenizer } from "./tokenizer.ts";

/** Two conversations that have no word in common. */
const PROBES: readonly (readonly [system: string, question: string, answer: string])[] = [
  ["Qua", "Hm", "Mmm"],
  ["Zo", "Je", "Ba"],
];

/**
 * The text of an invocation that may stand in what people write; undefined: this one can't.
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
  const text = tokenizer.detokenize(invocation, { skipSpecialTokens: false });
  let template: Awaited<ReturnType<typeof loadChatTemplate>>;
  try {
    template = await loadChatTemplate(checkpoint);
  } catch {
    return text;
  }
  const writes = PROBES.every(([system, question, answer]) =>
    [
      [{ role: "user", content: question }],
      [
        { role: "system", content: system },
        { role: "user", content: question },
        { role: "assistant", content: answer },
        { role: "user", content: question },
      ],
    ].some((messages) => {
      try {
        const ids = tokenizer.encode(template.render(messages), { addSpecialTokens: false });
        return ids.some((_, at) => invocation.every((id, i) => ids[at + i] === id));
      } catch {
        return false; // a template without a system message, say
      }
    }),
  );
  return writes ? undefined : text;
}
