/** Tokens that occur in a text as themselves, cut out before the rest is tokenized. */

import type { Checkpoint } from "../weights/checkpoint.ts";
import { isRecord, type JsonRecord } from "../weights/json-file.ts";

export interface SpecialToken {
  readonly text: string;
  readonly id: number;
  /** Left out of shown text; false: a word that was added to the vocabulary. */
  readonly control: boolean;
  /** White space before and behind the token belongs to it. */
  readonly stripLeft: boolean;
  readonly stripRight: boolean;
  /** Counts only right behind another special token: its text is an ordinary word otherwise. */
  readonly onlyBehindAnother: boolean;
}

export function controlToken(text: string, id: number): SpecialToken {
  return { text, id, control: true, stripLeft: false, stripRight: false, onlyBehindAnother: false };
}

/** A special token of tokenizer_config.json: a text, or an object with the text as its content. */
export function tokenText(value: unknown): string | undefined {
  const text = isRecord(value) ? value.content : value;
  return typeof text === "string" ? text : undefined;
}

/** Those of tokenizer_config.json (`added_tokens_decoder`) and, where it has none, of added_tokens.json. */
export async function readAddedTokens(
  files: Pick<Checkpoint, "json">,
  settings: JsonRecord,
): Promise<SpecialToken[]> {
  if (isRecord(settings.added_tokens_decoder)) {
    return Object.entries(settings.added_tokens_decoder).flatMap(([key, value]) => {
      const id = Number(key);
      if (!isRecord(value) || typeof value.content !== "string" || value.content === "" || !isId(id))
        return [];
      return [
        {
          ...controlToken(value.content, id),
          control: value.special === true,
          stripLeft: value.lstrip === true,
          stripRight: value.rstrip === true,
        },
      ];
    });
  }
  const added = await files.json("added_tokens.json");
  if (!isRecord(added)) return [];
  return Object.entries(added).flatMap(([text, id]) =>
    text !== "" && isId(id) ? [{ ...controlToken(text, id), control: /^<.*>$|^\[.*\]$/s.test(text) }] : [],
  );
}

function isId(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 1 << 30;
}

/** A stretch of text, or a special token that stood between two. */
export type Stretch = string | SpecialToken;

/** Cuts a text at its special tokens: at each place the longest that is there. Empty stretches are left out. */
export function splitAtSpecials(text: string, tokens: readonly SpecialToken[]): Stretch[] {
  if (tokens.length === 0) return text === "" ? [] : [text];
  const byText = new Map(tokens.map((token) => [token.text, token]));
  const longestFirst = [...byText.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map(escaped).join("|"), "g");
  const stretches: Stretch[] = [];
  let from = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const token = byText.get(match[0])!;
    const behindAnother = match.index === from && stretches.length > 0;
    if (token.onlyBehindAnother && !behindAnother) {
      pattern.lastIndex = match.index + 1;
      continue;
    }
    const before = text.slice(from, match.index);
    const kept = token.stripLeft ? before.trimEnd() : before;
    if (kept !== "") stretches.push(kept);
    stretches.push(token);
    from = match.index + match[0].length;
    if (token.stripRight) while (from < text.length && /\s/.test(text[from])) from++;
    pattern.lastIndex = from;
  }
  if (from < text.length) stretches.push(text.slice(from));
  return stretches;
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
