/** A conversation as the text that the model was trained on, by the checkpoint's own template. */

import { TacetError } from "../base/errors.ts";
import { TEMPLATE_TOKENS } from "../weights/adapter-text.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";
import { chatGlmTemplate } from "./chatglm-text.ts";
import { insertingTemplate } from "./inserting-template.ts";
import {
  checkVariable,
  isFunction,
  JinjaTemplate,
  TemplateFault,
  TemplateRefusal,
} from "./jinja/template.ts";
import { tokenText } from "./special-tokens.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** JSON values by name, as `chat_template_kwargs` of transformers and vLLM: `{ enable_thinking: false }`. */
export type TemplateVariables = Readonly<Record<string, unknown>>;

export interface RenderOptions {
  /** End with the words that open an answer (default true). */
  readonly addGenerationPrompt?: boolean;
  /** More of what the template reads. One that it does not read is an error: it would change nothing. */
  readonly variables?: TemplateVariables | undefined;
}

export interface ChatTemplate {
  /**
   * The conversation's text, special tokens included: encode it with addSpecialTokens false.
   * @throws TacetError bad_argument if the template refuses the messages, or does not read one of the variables;
   *   bad_tokenizer if it fails, or wants what is not supported (docs/models.md)
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
  const special = specialTokens(tokens);
  return {
    render: (messages, { addGenerationPrompt = true, variables = {} } = {}) => {
      checkVariables(template, variables, Object.keys(special));
      return render(template, {
        ...special,
        ...variables,
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: addGenerationPrompt,
        // Templates ask whether these are none, as Hugging Face passes them.
        tools: null,
        documents: null,
      });
    },
  };
}

/** What a rendering sets itself. */
const OWN_VARIABLES = ["messages", "add_generation_prompt", "tools", "documents"];

/** @throws TacetError bad_argument */
function checkVariables(
  template: JinjaTemplate,
  variables: TemplateVariables,
  special: readonly string[],
): void {
  for (const [name, value] of Object.entries(variables)) {
    if (OWN_VARIABLES.includes(name)) {
      throw new TacetError("bad_argument", `the template variable ${name} comes from the conversation`, {
        hint: "it cannot be given by name",
      });
    }
    if (!template.reads.has(name)) {
      const taken = [...OWN_VARIABLES, ...special];
      const others = [...template.reads].filter((read) => !taken.includes(read) && !isFunction(read)).sort();
      const what = others.length === 0 ? "no variables" : others.join(", ");
      throw new TacetError(
        "bad_argument",
        `the model's chat template does not read the variable ${JSON.stringify(name.slice(0, 64))}`,
        { hint: `besides the conversation it reads ${what}` },
      );
    }
    try {
      checkVariable(value);
    } catch (error) {
      if (!(error instanceof TemplateFault)) throw error;
      throw new TacetError(
        "bad_argument",
        `the template variable ${name} cannot be passed: ${error.message}`,
      );
    }
  }
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
  for (const name of TEMPLATE_TOKENS) {
    const text = tokenText(settings[name]);
    if (text !== undefined) texts[name] = text;
  }
  return texts;
}

function parse(source: string): JinjaTemplate {
  try {
    return new JinjaTemplate(source);
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error;
    throw new TacetError("bad_tokenizer", `the model's chat template cannot be read: ${error.message}`);
  }
}

function render(template: JinjaTemplate, values: Record<string, unknown>): string {
  try {
    return template.render(values);
  } catch (error) {
    if (error instanceof TemplateRefusal) {
      throw new TacetError(
        "bad_argument",
        `the model's chat template refuses the messages: ${error.message}`,
      );
    }
    if (!(error instanceof TemplateFault)) throw error;
    throw new TacetError(
      "bad_tokenizer",
      `the model's chat template cannot render the messages: ${error.message}`,
    );
  }
}
