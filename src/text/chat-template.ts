/** A conversation as the text that the model was trained on, by the checkpoint's own template. */

import { Template } from "@huggingface/jinja";
import { TacetError } from "../base/errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";
import { chatGlmTemplate } from "./chatglm-text.ts";
import { insertingTemplate } from "./inserting-template.ts";
import { tokenText } from "./special-tokens.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface RenderOptions {
  /** End with the words that open an answer (default true). */
  readonly addGenerationPrompt?: boolean;
}

export interface ChatTemplate {
  /**
   * The conversation's text, special tokens included: encode it with addSpecialTokens false.
   * @throws TacetError bad_argument if the template refuses the messages, bad_tokenizer if it fails
   */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
}

/** Renders once; to render often, keep the template of {@link loadChatTemplate}. */
export async function renderChat(
  checkpoint: Checkpoint,
  messages: readonly ChatMessage[],
  options?: RenderOptions,
): Promise<string> {
  return (await loadChatTemplate(checkpoint)).render(messages, options);
}

/**
 * The base model's template, or that of the adapter on it, which does not get to see what messages say
 * (inserting-template.ts).
 *
 * @throws TacetError bad_tokenizer if there is no template, or it cannot be read
 */
export async function loadChatTemplate(checkpoint: Checkpoint): Promise<ChatTemplate> {
  const template = await loadDirectTemplate(checkpoint);
  return checkpoint.adapterText?.chatTemplate === undefined ? template : insertingTemplate(template);
}

/** Whether a conversation can be written for this model, by its own template or by its adapter's. */
export async function hasChatTemplate(checkpoint: Checkpoint): Promise<boolean> {
  const settings = await checkpoint.json("tokenizer_config.json");
  if (checkpoint.adapterText?.chatTemplate !== undefined) return true;
  return (await findTemplate(checkpoint, isRecord(settings) ? settings : {})) !== undefined;
}

/** The template as it is, for whoever trusts it. */
export async function loadDirectTemplate(checkpoint: Checkpoint): Promise<ChatTemplate> {
  const { adapterText } = checkpoint;
  const settings = await checkpoint.json("tokenizer_config.json");
  const tokens = { ...(isRecord(settings) ? settings : {}), ...adapterText?.specialTokens };
  const source = adapterText?.chatTemplate ?? (await findTemplate(checkpoint, tokens));
  if (source === undefined) {
    throw new TacetError("bad_tokenizer", `${checkpoint.tree.label} has no chat template`, {
      hint: "the model was not trained for chat: give the whole prompt as text",
    });
  }
  const template = parse(source);
  return {
    render: (messages, { addGenerationPrompt = true } = {}) =>
      render(template, {
        ...specialTokens(tokens),
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: addGenerationPrompt,
        // Templates ask whether these are none, as Hugging Face passes them.
        tools: null,
        documents: null,
      }),
  };
}

/** Where transformers keeps templates that have a name. */
const NAMED_TEMPLATE = "additional_chat_templates/default.jinja";

/** Its own file, as newer releases have it, before tokenizer_config.json, before what is known of the family. */
export async function findTemplate(
  files: Pick<Checkpoint, "text" | "json"> & Partial<Checkpoint>,
  settings: JsonRecord,
): Promise<string | undefined> {
  const file = await files.text("chat_template.jinja");
  if (file !== undefined) return file;
  const json = await files.json("chat_template.json");
  return (
    chooseTemplate(isRecord(json) ? json.chat_template : undefined) ??
    chooseTemplate(settings.chat_template) ??
    (await files.text(NAMED_TEMPLATE)) ??
    (files.config === undefined ? undefined : await chatGlmTemplate(files as Checkpoint))
  );
}

/** A text, or a list of named texts of which the one called "default" is meant. */
function chooseTemplate(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const chosen = value.find((entry) => isRecord(entry) && entry.name === "default");
  return typeof chosen?.template === "string" ? chosen.template : undefined;
}

/** bos_token, eos_token and the others as texts. */
function specialTokens(settings: JsonRecord): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const name of [
    "bos_token",
    "eos_token",
    "unk_token",
    "pad_token",
    "sep_token",
    "cls_token",
    "mask_token",
  ]) {
    const text = tokenText(settings[name]);
    if (text !== undefined) texts[name] = text;
  }
  return texts;
}

/** The one name of ours that a template sees: what `raise_exception` is made to mean. */
const REFUSE = "tacet_refuse";

function parse(source: string): Template {
  try {
    const template = new Template(source);
    // Jinja's own raise_exception throws a plain Error, which a fault of the template does too; it cannot be
    // replaced from outside, so the template's first statement replaces it.
    template.parsed.body.unshift(...new Template(`{% set raise_exception = ${REFUSE} %}`).parsed.body);
    return template;
  } catch (cause) {
    throw new TacetError("bad_tokenizer", "the model's chat template cannot be read", { cause });
  }
}

/** Thrown by the template itself, to tell its refusals from its faults. */
class Refusal extends Error {}

function render(template: Template, values: Record<string, unknown>): string {
  try {
    return template.render({
      ...values,
      [REFUSE]: (message: unknown) => {
        throw new Refusal(String(message));
      },
    });
  } catch (error) {
    if (error instanceof Refusal) {
      throw new TacetError(
        "bad_argument",
        `the model's chat template refuses the messages: ${error.message}`,
      );
    }
    // Without the cause: its message may quote the conversation.
    throw new TacetError("bad_tokenizer", "the model's chat template cannot render the messages");
  }
}
