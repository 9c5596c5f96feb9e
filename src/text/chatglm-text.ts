/**
 * What ChatGLM2 and ChatGLM3 have in Python code that comes with the model, and in no file that can be read: the
 * tokens behind the sentencepiece vocabulary, and the form of a prompt (THUDM/chatglm2-6b and chatglm3-6b,
 * tokenization_chatglm.py).
 */

import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";
import { controlToken, type SpecialToken } from "./special-tokens.ts";

const MASKS = ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"];
const ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"];

/** What comes before every prompt. */
export const CHATGLM_PREFIX = ["[gMASK]", "sop"] as const;

export function isChatGlm(checkpoint: Checkpoint): boolean {
  return checkpoint.config.model_type === "chatglm";
}

/** ChatGLM3, which has a token for each role; the configurations of the two differ in nothing else. */
export async function hasRoleTokens(checkpoint: Checkpoint, settings: JsonRecord): Promise<boolean> {
  if (JSON.stringify(settings).includes("<|user|>")) return true;
  if ([settings.name_or_path, checkpoint.config._name_or_path].some((name) => /chatglm3/i.test(String(name))))
    return true;
  // Read as text, never run.
  return (await checkpoint.text("tokenization_chatglm.py"))?.includes("<|observation|>") === true;
}

/**
 * Ids follow the sentencepiece pieces: 64789 [MASK], 64790 [gMASK], 64791 [sMASK], 64792 sop, 64793 eop, and in
 * ChatGLM3 64794 <|system|>, 64795 <|user|>, 64796 <|assistant|>, 64797 <|observation|>.
 */
export function chatGlmTokens(pieces: number, roles: boolean): SpecialToken[] {
  return [...MASKS, ...(roles ? ROLES : [])].map((text, i) => ({
    ...controlToken(text, pieces + i),
    // Words that have these letters are no tokens.
    onlyBehindAnother: text === "sop" || text === "eop",
  }));
}

/** Ends of an answer besides </s>: the next turn's role. */
export const CHATGLM_TURN_ENDS = ["<|user|>", "<|observation|>"] as const;

/** ChatGLM2: numbered rounds of question and answer; it knows no system turn. */
const ROUNDS =
  "[gMASK]sop{% set count = namespace(round=0) %}{% for message in messages %}" +
  "{% if message.role == 'user' %}{% set count.round = count.round + 1 %}" +
  "[Round {{ count.round }}]\n\n问：{{ message.content }}\n\n" +
  "{% elif message.role == 'assistant' %}答：{{ message.content }}\n\n" +
  "{% else %}{{ raise_exception('ChatGLM2 knows user and assistant turns only, not ' + message.role) }}{% endif %}" +
  "{% endfor %}{% if add_generation_prompt %}答：{% endif %}";

/** ChatGLM3, as its later releases have it in tokenizer_config.json. */
const ROLE_TURNS =
  "[gMASK]sop{% for message in messages %}" +
  "{% if message.role not in ['system', 'user', 'assistant', 'observation'] %}" +
  "{{ raise_exception('ChatGLM3 knows no role ' + message.role) }}{% endif %}" +
  "<|{{ message.role }}|>\n {{ message.content }}{% endfor %}" +
  "{% if add_generation_prompt %}<|assistant|>{% endif %}";

/** The template of a ChatGLM folder that brings none; undefined for every other model. */
export async function chatGlmTemplate(checkpoint: Checkpoint): Promise<string | undefined> {
  if (!isChatGlm(checkpoint)) return undefined;
  const settings = await checkpoint.json("tokenizer_config.json");
  return (await hasRoleTokens(checkpoint, isRecord(settings) ? settings : {})) ? ROLE_TURNS : ROUNDS;
}
