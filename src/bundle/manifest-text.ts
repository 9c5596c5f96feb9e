/** The part of a manifest about text. Whether its ids are the base model's is checked where that is at hand. */
import {
  ADAPTER_TEXT_LIMITS,
  type AdapterText,
  isControlTokenText,
  TEMPLATE_TOKENS,
} from "../weights/adapter-text.ts";
import { array, integer, record, bundleRefusal } from "./manifest-fields.ts";

export const LARGEST_ID = 2 ** 31 - 1;

/** @throws TacetError bad_bundle, naming the field */
export function decodeAdapterText(raw: unknown): AdapterText | undefined {
  if (raw === undefined) return undefined;
  const { endIds, chatTemplate, specialTokens, addedTokens } = record(raw, "text");
  return {
    ...(endIds === undefined ? {} : { endIds: decodeEndIds(endIds) }),
    ...(chatTemplate === undefined ? {} : { chatTemplate: decodeTemplate(chatTemplate) }),
    ...(specialTokens === undefined ? {} : { specialTokens: decodeSpecialTokens(specialTokens) }),
    ...(addedTokens === undefined ? {} : { addedTokens: decodeAddedTokens(addedTokens) }),
  };
}

function decodeEndIds(raw: unknown): readonly number[] {
  return array(raw, "text.endIds", ADAPTER_TEXT_LIMITS.endIds).map((id, i) =>
    integer(id, `text.endIds[${i}]`, 0, LARGEST_ID),
  );
}

function decodeTemplate(raw: unknown): string {
  const { templateLength } = ADAPTER_TEXT_LIMITS;
  if (typeof raw === "string" && raw.length > 0 && raw.length <= templateLength) return raw;
  throw bundleRefusal(`text.chatTemplate is not a text of 1 to ${templateLength} characters`);
}

function decodeSpecialTokens(raw: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(record(raw, "text.specialTokens"));
  for (const [name, text] of entries) {
    if (!TEMPLATE_TOKENS.includes(name))
      throw bundleRefusal("text.specialTokens has a name that no tokenizer knows");
    if (typeof text !== "string" || !isShortText(text))
      throw bundleRefusal(`text.specialTokens.${name} is no token`);
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

function decodeAddedTokens(raw: unknown): readonly { id: number; text: string }[] {
  const tokens = array(raw, "text.addedTokens", ADAPTER_TEXT_LIMITS.addedTokens).map((entry, i) => {
    const at = `text.addedTokens[${i}]`;
    const { id, text } = record(entry, at);
    if (typeof text !== "string" || !isControlTokenText(text))
      throw bundleRefusal(`${at}.text is no control token`);
    return { id: integer(id, `${at}.id`, 0, LARGEST_ID), text };
  });
  const distinct = (values: readonly unknown[]) => new Set(values).size === tokens.length;
  if (distinct(tokens.map(({ id }) => id)) && distinct(tokens.map(({ text }) => text))) return tokens;
  throw bundleRefusal("text.addedTokens has a token twice");
}

function isShortText(text: string): boolean {
  return text.length <= 128 && /^\P{C}+$/u.test(text);
}
