/**
 * JSON from untrusted files. `JSON.parse` keeps the last of two equal keys, so one file can mean two things to
 * two readers; here a repeated key is an error, and so is `__proto__`, which no file of ours needs.
 */

import { type ErrorCode, TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";

export type JsonRecord = Readonly<Record<string, unknown>>;

/** Most bytes of a file read whole as text. The largest tokenizers have about 35 MB. */
export const MAX_TEXT_BYTES = 100_000_000;

/** A name from a file, for messages: quoted, control characters escaped, cut to 120 characters. */
export function quoteName(name: string): string {
  return JSON.stringify(name.length > 120 ? name.slice(0, 117) + "..." : name);
}

/**
 * A whole file as UTF-8 text, or undefined if there is none.
 * @throws TacetError `code` if it is too large or not UTF-8
 */
export async function readText(tree: FileTree, path: string, code: ErrorCode): Promise<string | undefined> {
  const size = await tree.size(path);
  if (size === undefined) return undefined;
  if (size > MAX_TEXT_BYTES)
    throw new TacetError(code, `${path} has ${size} bytes, at most ${MAX_TEXT_BYTES} are read`, {
      hint: "this is not the file that its name says",
    });
  const bytes = await tree.read(path, 0, size);
  refuseLfsPointer(bytes, path, code);
  return decodeUtf8(bytes, path, code);
}

/** What `git clone` leaves where a large file should be, without git-lfs. */
const LFS_POINTER = "version https://git-lfs.github.com/spec/";

/** @param bytes of the file's beginning @throws TacetError `code` if they are a Git LFS pointer */
export function refuseLfsPointer(bytes: Uint8Array, path: string, code: ErrorCode): void {
  const start = String.fromCharCode(...bytes.subarray(0, LFS_POINTER.length));
  if (start !== LFS_POINTER) return;
  throw new TacetError(code, `${path} is a Git LFS pointer, not the file itself`, {
    hint: "run 'git lfs install' and 'git lfs pull' in the folder, or download the file",
  });
}

/** @throws TacetError `code` unless the bytes are UTF-8 */
export function decodeUtf8(bytes: Uint8Array, path: string, code: ErrorCode): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new TacetError(code, `${path} is not UTF-8 text`, { hint: "download the file again", cause });
  }
}

/** @throws TacetError `code` unless the text is JSON. Repeated keys are not looked for. */
export function parseJson(text: string, path: string, code: ErrorCode): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const python = parsePythonJson(text);
    if (python !== undefined) return python;
    // Without the cause: the parser's message quotes the file.
    throw new TacetError(code, `${path} is not JSON`, { hint: "download the file again" });
  }
}

/** A string, or one of the numbers that Python writes and JSON does not have. */
const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\bInfinity\b|\bNaN\b/gs;
const NAN = "\u0000NaN";

/** JSON with Infinity and NaN, as Python's json module writes and reads it; undefined: it is not even that. */
function parsePythonJson(text: string): unknown {
  if (!/\b(?:Infinity|NaN)\b/.test(text)) return undefined;
  const plain = text.replace(STRING_OR_NUMBER, (found) => {
    if (found.startsWith('"')) return found;
    return found === "NaN" ? JSON.stringify(NAN) : found.replace("Infinity", "1e999");
  });
  try {
    return JSON.parse(plain, (_, value) => (value === NAN ? Number.NaN : value));
  } catch {
    return undefined;
  }
}

/** @throws TacetError `code` unless the text is one JSON object without repeated or `__proto__` keys */
export function parseJsonRecord(text: string, path: string, code: ErrorCode): JsonRecord {
  const value = parseJson(text, path, code);
  const refuse = (what: string): never => {
    throw new TacetError(code, `${path} ${what}`, {
      hint: "the file is damaged or was edited: get it again",
    });
  };
  if (!isRecord(value)) return refuse("does not hold a JSON object");
  const key = findBadKey(text);
  if (key === "__proto__") return refuse('has the key "__proto__"');
  if (key !== undefined) return refuse(`has the key ${quoteName(key)} twice in one object`);
  return value;
}

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The first key that is repeated within its object, or `__proto__`; the text must be valid JSON. */
function findBadKey(text: string): string | undefined {
  // One entry an open bracket: the keys seen so far, or undefined in an array.
  const open: (Set<string> | undefined)[] = [];
  let expectKey = false;
  for (let at = 0; at < text.length; at++) {
    const mark = text[at];
    if (mark === '"') {
      const end = endOfString(text, at);
      const keys = open[open.length - 1];
      if (expectKey && keys) {
        const key = JSON.parse(text.slice(at, end + 1)) as string;
        if (key === "__proto__" || keys.has(key)) return key;
        keys.add(key);
      }
      expectKey = false;
      at = end;
    } else if (mark === "{") {
      open.push(new Set());
      expectKey = true;
    } else if (mark === "[") {
      open.push(undefined);
      expectKey = false;
    } else if (mark === "}" || mark === "]") {
      open.pop();
      expectKey = false;
    } else if (mark === ",") {
      expectKey = open[open.length - 1] !== undefined;
    }
  }
  return undefined;
}

/** Index of the quotation mark that closes the string opened at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at;
}
