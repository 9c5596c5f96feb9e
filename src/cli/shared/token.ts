/** Bearer tokens: read from files, compared in constant time. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { TacetError } from "../../base/errors.ts";
import { errnoOf } from "../../platform/node.ts";

const sha256 = (text: string): Buffer => createHash("sha256").update(text, "utf8").digest();

/**
 * The tokens of a file, one a line; blank lines do not count.
 * @throws TacetError io_failed, bad_argument
 */
export async function readTokens(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new TacetError("io_failed", `the token file ${path} cannot be read (${errnoOf(cause)})`);
  });
  const tokens = text.split(/\r?\n/).flatMap((line) => line.trim() || []);
  if (tokens.length > 0) return tokens;
  throw new TacetError("bad_argument", `the token file ${path} holds no token`, {
    hint: "write one token a line into it, for example from 'openssl rand -hex 32'",
  });
}

/** A client's token: of the file, else of TACET_TOKEN, else none. */
export async function clientToken(path: string | undefined): Promise<string | undefined> {
  if (path !== undefined) return (await readTokens(path))[0];
  const token = process.env.TACET_TOKEN?.trim();
  return token === "" ? undefined : token;
}

/**
 * The name of an allowed key: "key-1" for the first, and so on; nothing of the key itself, since names go into logs. All
 * of them are compared, by their SHA-256.
 */
export function keyNames(allowed: readonly string[]): (key: string) => string | undefined {
  const digests = allowed.map(sha256);
  return (key) => {
    const digest = sha256(key);
    let name: string | undefined;
    for (const [i, candidate] of digests.entries()) {
      if (timingSafeEqual(candidate, digest)) name ??= `key-${i + 1}`;
    }
    return name;
  };
}

/** Whether a token is among the allowed ones; all of them are compared, by their SHA-256. */
export function tokenCheck(allowed: readonly string[]): (token: string) => boolean {
  const digests = allowed.map(sha256);
  return (token) => {
    const digest = sha256(token);
    let found = false;
    for (const candidate of digests) found = timingSafeEqual(candidate, digest) || found;
    return found;
  };
}
