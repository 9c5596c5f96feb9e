/** The key that a provider signs its bundles with: a separate file, made when it is first needed. */
import { readFile } from "node:fs/promises";
import { fromHex, toHex, utf8 } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import { createSigningKey } from "../../bundle/signature.ts";
import { errnoOf, writeFiles } from "../../platform/node.ts";
import { systemRandom } from "../../ring/random-source.ts";

const PREFIX = "tacet-signing-key-1 ";

/** @throws TacetError io_failed; bad_argument if the file holds something else */
export async function readSigningKey(path: string): Promise<Uint8Array> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return await writeNewKey(path);
    throw new TacetError("io_failed", `the signing key ${path} cannot be read (${errnoOf(cause)})`);
  }
  const hex = text.startsWith(PREFIX) ? text.slice(PREFIX.length).trim() : "";
  if (/^[0-9a-f]{64}$/.test(hex)) return fromHex(hex);
  throw new TacetError("bad_argument", `${path} is not a signing key of tacet`, {
    hint: "give a file that does not exist yet: a key is made",
  });
}

async function writeNewKey(path: string): Promise<Uint8Array> {
  const key = createSigningKey(systemRandom);
  await writeFiles([{ path, bytes: utf8(`${PREFIX}${toHex(key)}\n`), mode: 0o600 }]);
  return key;
}
