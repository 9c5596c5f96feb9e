/** An adapter's text side as its folder says it: read when a bundle is made, or the adapter is used here. */

import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import {
  ADAPTER_TEXT_LIMITS,
  type AdapterText,
  type AddedControlToken,
  isControlTokenText,
  TEMPLATE_TOKENS,
} from "../weights/adapter-text.ts";
import { type Checkpoint, withAdapterText } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord, parseJson, quoteName, readText } from "../weights/json-file.ts";
import { adapterTextFault } from "./adapter-text.ts";
import { type ChatMessage, findTemplate, loadChatTemplate, loadDirectTemplate } from "./chat-template.ts";
import { controlTextOf } from "./control-text.ts";
import { eosIdsIn } from "./end-ids.ts";
import { readAddedTokens, tokenText } from "./special-tokens.ts";
import { hasTokenizer, loadTokenizer, type Tokenizer } from "./tokenizer.ts";

export interface ReadAdapterText {
  /** Undefined: the adapter writes text as its base model does. */
  readonly text: AdapterText | undefined;
  /**
   * Whether the adapter's template writes other prompts where messages have other words. A client does not show it
   * what they say (inserting-template.ts), and so writes some prompts otherwise.
   */
  readonly readsMessages: boolean;
}

const ANOTHER_TOKENIZER = "the adapter was trained with another tokenizer, or made for another base model";
const NOTHING: ReadAdapterText = { text: undefined, readsMessages: false };
const CONFIG = "tokenizer_config.json";
const GENERATION = "generation_config.json";

/**
 * tokenizer_config.json, generation_config.json, added tokens and chat template of an adapter's folder, as far as they
 * say something else than the base model. A base model without tokenizer gets nothing.
 *
 * @param vocabSize rows of the base model's embeddings
 * @throws TacetError bad_adapter for a damaged file; unsupported_adapter for tokens that the base model does not have
 */
export async function readAdapterText(
  tree: FileTree,
  checkpoint: Checkpoint,
  vocabSize: number,
): Promise<ReadAdapterText> {
  if (!(await hasTokenizer(checkpoint))) return NOTHING;
  const files = adapterFiles(tree);
  const settings = (await files.json(CONFIG)) ?? {};
  const generation = (await files.json(GENERATION)) ?? {};
  if (!isRecord(settings) || !isRecord(generation)) {
    const file = isRecord(settings) ? GENERATION : CONFIG;
    throw new TacetError("bad_adapter", `${tree.label}: ${file} does not hold a JSON object`);
  }
  const base = await loadTokenizer(checkpoint);
  const { added, outside } = await newTokens(files, settings, base, vocabSize);
  const tokens: AdapterText = added.length === 0 ? {} : { addedTokens: added };
  const tokenizer = await loadTokenizer(withAdapterText(checkpoint, tokens));
  const own = await findTemplate(files, settings);
  const chatTemplate = own === (await baseTemplate(checkpoint)) ? undefined : own;
  const used = [
    chatTemplate ?? "",
    ...TEMPLATE_TOKENS.slice(0, 2).map((name) => tokenText(settings[name]) ?? ""),
  ];
  const missing = outside.find((text) => used.some((each) => each.includes(text)));
  if (missing !== undefined) throw resized(missing, vocabSize);
  const specialTokens = await changedTokens(settings, checkpoint, tokenizer);
  const written: AdapterText = {
    ...tokens,
    ...(chatTemplate === undefined ? {} : { chatTemplate: withinLimit(chatTemplate) }),
    ...(specialTokens === undefined ? {} : { specialTokens }),
  };
  const joined = withAdapterText(checkpoint, written);
  const endIds = [
    ...eosIdsIn(generation),
    ...(specialTokens?.eos_token === undefined ? [] : [tokenizer.idOf(specialTokens.eos_token)!]),
    ...(chatTemplate === undefined ? [] : await turnEnd(joined, tokenizer)),
  ];
  const ends = [...new Set(endIds)].filter((id) => !base.eosIds.includes(id));
  const text = ends.length === 0 ? written : { ...written, endIds: ends };
  if (Object.keys(text).length === 0) return NOTHING;
  const fault = await adapterTextFault(text, checkpoint, vocabSize);
  if (fault !== undefined) {
    throw new TacetError("unsupported_adapter", `the adapter ${fault}`, { hint: ANOTHER_TOKENIZER });
  }
  return { text, readsMessages: chatTemplate !== undefined && (await readsMessages(joined)) };
}

interface AdapterFiles {
  text(name: string): Promise<string | undefined>;
  json(name: string): Promise<unknown>;
}

function adapterFiles(tree: FileTree): AdapterFiles {
  const text = (name: string) => readText(tree, name, "bad_adapter");
  return {
    text,
    async json(name) {
      const found = await text(name);
      return found === undefined ? undefined : parseJson(found, name, "bad_adapter");
    },
  };
}

/** Tokens of the adapter that its base does not have: at ids of its embeddings, and beyond them. */
async function newTokens(
  files: AdapterFiles,
  settings: JsonRecord,
  base: Tokenizer,
  vocabSize: number,
): Promise<{ added: AddedControlToken[]; outside: string[] }> {
  const definition = await files.json("tokenizer.json");
  const listed =
    isRecord(definition) && Array.isArray(definition.added_tokens)
      ? definition.added_tokens.filter(isRecord).map(({ id, content }) => ({ id, text: content }))
      : await readAddedTokens(files, settings);
  const added: AddedControlToken[] = [];
  const outside: string[] = [];
  for (const { id, text } of listed) {
    if (typeof text !== "string" || text === "" || !Number.isInteger(id) || (id as number) < 0) continue;
    const known = base.idOf(text);
    if (known === id) continue;
    if ((id as number) >= vocabSize) outside.push(text);
    else if (known !== undefined) {
      throw new TacetError(
        "unsupported_adapter",
        `the adapter's tokenizer has ${quoteName(text)} at ${id}, the base model's at ${known}`,
        { hint: ANOTHER_TOKENIZER },
      );
    } else if (isControlTokenText(text)) added.push({ id: id as number, text });
    else {
      throw new TacetError(
        "unsupported_adapter",
        `the adapter's tokenizer adds the word ${quoteName(text)}: only control tokens, as <|name|>, can be added`,
      );
    }
  }
  if (added.length <= ADAPTER_TEXT_LIMITS.addedTokens) return { added, outside };
  throw new TacetError("unsupported_adapter", `the adapter's tokenizer adds ${added.length} tokens`);
}

function resized(text: string, vocabSize: number): TacetError {
  return new TacetError(
    "unsupported_adapter",
    `the adapter uses the token ${quoteName(text)}, outside the base model's vocabulary of ${vocabSize}`,
    { hint: "an adapter cannot enlarge the embeddings: train it with tokens that the base model has" },
  );
}

async function baseTemplate(checkpoint: Checkpoint): Promise<string | undefined> {
  const settings = await checkpoint.json(CONFIG);
  return await findTemplate(checkpoint, isRecord(settings) ? settings : {});
}

function withinLimit(template: string): string {
  const { templateLength } = ADAPTER_TEXT_LIMITS;
  if (template.length > 0 && template.length <= templateLength) return template;
  throw new TacetError(
    "unsupported_adapter",
    `the adapter's chat template has ${template.length} characters, it must have 1 to ${templateLength}`,
  );
}

/** bos_token, eos_token and the others, where they are others than the base model's and tokens that it has. */
async function changedTokens(
  settings: JsonRecord,
  checkpoint: Checkpoint,
  tokenizer: Tokenizer,
): Promise<Record<string, string> | undefined> {
  const value = await checkpoint.json(CONFIG);
  const before = isRecord(value) ? value : {};
  const changed = TEMPLATE_TOKENS.flatMap((name): [string, string][] => {
    const text = tokenText(settings[name]);
    if (text === undefined || text === tokenText(before[name])) return [];
    if (tokenizer.idOf(text) !== undefined) return [[name, text]];
    if (name !== "eos_token") return [];
    throw new TacetError("unsupported_adapter", `the adapter's eos_token ${quoteName(text)} is no token`, {
      hint: ANOTHER_TOKENIZER,
    });
  });
  return changed.length === 0 ? undefined : Object.fromEntries(changed);
}

/** What the template puts behind an answer, where that is a control token: the adapter has learnt to end with it. */
async function turnEnd(joined: Checkpoint, tokenizer: Tokenizer): Promise<number[]> {
  const template = await loadChatTemplate(joined);
  const answer = "Mmm";
  const messages = [
    { role: "user", content: "Hm" },
    { role: "assistant", content: answer },
  ];
  let text: string;
  try {
    text = template.render(messages, { addGenerationPrompt: false });
  } catch {
    return [];
  }
  const behind = text.slice(text.lastIndexOf(answer) + answer.length).trimStart();
  const [id] = behind === "" ? [] : tokenizer.encode(behind, { addSpecialTokens: false });
  return id !== undefined && controlTextOf(tokenizer, id) !== undefined ? [id] : [];
}

/** What templates are known to look for, and what they might take for their own. */
const PROBES = ["x", " x\n", "<think>a</think>b", "{{ 7 }}", "a\n\nb", "", "[INST] x"];

/** Whether the prompt of some conversation is another one when the template sees what is said. */
async function readsMessages(joined: Checkpoint): Promise<boolean> {
  const inserting = await loadChatTemplate(joined);
  const direct = await loadDirectTemplate(joined);
  const render = (template: typeof direct, messages: readonly ChatMessage[]): string | undefined => {
    try {
      return template.render(messages);
    } catch (error) {
      return error instanceof TacetError ? error.code : String(error);
    }
  };
  return PROBES.some((content) =>
    [
      [{ role: "user", content }],
      [
        { role: "system", content },
        { role: "user", content },
      ],
      [
        { role: "user", content },
        { role: "assistant", content },
        { role: "user", content },
      ],
    ].some((messages) => render(inserting, messages) !== render(direct, messages)),
  );
}
