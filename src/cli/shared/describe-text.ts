/** What an adapter changes about text, in words. */
import type { AdapterText } from "../../weights/adapter-text.ts";
import { quoteName } from "../../weights/json-file.ts";

/** One line each; none for an adapter that writes as its base model does. */
export function describeText(text: AdapterText | undefined): string[] {
  const { endIds, chatTemplate, specialTokens, addedTokens } = text ?? {};
  const named = Object.entries(specialTokens ?? {}).map(([name, token]) => `${name} ${quoteName(token)}`);
  return [
    ...(endIds === undefined ? [] : [`ends of an answer, besides the base model's: ${endIds.join(", ")}`]),
    ...(chatTemplate === undefined ? [] : [`the adapter's chat template, ${chatTemplate.length} characters`]),
    ...(named.length === 0 ? [] : [`special tokens: ${named.join(", ")}`]),
    ...(addedTokens === undefined
      ? []
      : [`control tokens: ${addedTokens.map(({ id, text }) => `${quoteName(text)} (${id})`).join(", ")}`]),
  ];
}
