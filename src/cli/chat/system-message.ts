/** Whether a model's chat template takes a system message, before one is set. */
import { TacetError } from "../../base/errors.ts";
import { type ChatTemplate, loadChatTemplate } from "../../text/chat-template.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";

/** @throws TacetError bad_argument if the template refuses a system message, or leaves it out */
export type SystemCheck = (system: string) => void;

/** @throws TacetError bad_tokenizer if the checkpoint has no chat template */
export async function loadSystemCheck(checkpoint: Checkpoint): Promise<SystemCheck> {
  return systemCheck(await loadChatTemplate(checkpoint));
}

export function systemCheck(template: ChatTemplate): SystemCheck {
  return (system) => {
    const question = { role: "user", content: "?" };
    const without = template.render([question]);
    if (template.render([{ role: "system", content: system }, question]) !== without) return;
    throw new TacetError("bad_argument", "the model's chat template leaves out system messages", {
      hint: "write what it should know into the first message",
    });
  };
}
