/** What makes a key of what comes: one announcement, all parts in order, one signature at the end. */
import { beforeEach, describe, expect, it } from "vitest";
import { tinyBundle } from "../../../test/support/tiny-bundle.ts";
import { toHex } from "../../base/bytes.ts";
import { decodeBundle } from "../../bundle/bundle.ts";
import { keyPartDigest, signKey } from "../../bundle/key-signature.ts";
import { createSigningKey, publicKeyOf } from "../../bundle/signature.ts";
import { systemRandom } from "../../ring/random-source.ts";
import { KeyDownload } from "./key-download.ts";
import { keyFormatOf } from "../key-format.ts";
import type { FetchedKey } from "../keys.ts";

const signing = createSigningKey(systemRandom);
const KEY_ID = new Uint8Array(16).fill(3);
const MADE = { keyId: KEY_ID, vectorsLeft: 240 };

async function start(keyId?: Uint8Array) {
  const decoded = await decodeBundle((await tinyBundle()).bundle);
  const manifest = { ...decoded.manifest, keySigner: toHex(publicKeyOf(signing)) };
  const bundle = { ...decoded, manifest };
  const format = keyFormatOf(bundle, undefined);
  const parts = format.lengths.map(({ weights, hint }, group) => ({
    group,
    weights: new Uint8Array(weights).fill(group + 1),
    hint: new Uint8Array(hint).fill(group + 1),
    signature: new Uint8Array(0),
  }));
  const digests = parts.map((part) => keyPartDigest(part));
  const signature = signKey(signing, { bundleDigest: bundle.digest, keyId: KEY_ID }, digests);
  let settle: (key: FetchedKey) => void = () => {};
  let fail: (error: unknown) => void = () => {};
  const key = new Promise<FetchedKey>((resolve, reject) => ([settle, fail] = [resolve, reject]));
  key.catch(() => {});
  const download = new KeyDownload({ format, keyId, vectorsPerKey: 240 }, { resolve: settle, reject: fail });
  return { download, key, first: parts[0], last: { ...parts[1], signature } };
}

type Started = Awaited<ReturnType<typeof start>>;
let started: Started;
beforeEach(async () => {
  started = await start();
});
const error = (code: string) => expect.objectContaining({ code });

describe("a key that comes", () => {
  it("is there with its last part, in memory of its own", async () => {
    const { download, key, first, last } = started;
    const id = KEY_ID.slice();
    download.made({ keyId: id, vectorsLeft: 240 });
    expect(download.part(first)).toBeUndefined();
    first.weights.fill(9);
    id.fill(9);
    await download.part(last);
    const { groups, signature, ...rest } = await key;
    expect(rest).toEqual({ id: KEY_ID, vectorsLeft: 240 });
    expect(groups.map(({ weights }) => weights[0])).toEqual([1, 2]);
    expect(signature).toEqual(last.signature);
  });

  it.each<[string, string, (started: Started) => unknown]>([
    ["announced twice", "bad_frame", ({ download }) => [download.made(MADE), download.made(MADE)]],
    ["whose part comes before it is announced", "bad_frame", ({ download, first }) => download.part(first)],
    [
      "whose parts come the other way round",
      "bad_frame",
      ({ download, last }) => [download.made(MADE), download.part(last)],
    ],
    [
      "whose part comes twice",
      "bad_frame",
      ({ download, first }) => [download.made(MADE), download.part(first), download.part(first)],
    ],
    [
      "that is signed before its end",
      "bad_frame",
      ({ download, first, last }) => [
        download.made(MADE),
        download.part({ ...first, signature: last.signature }),
      ],
    ],
    [
      "with an id that is none",
      "bad_key",
      ({ download }) => download.made({ ...MADE, keyId: KEY_ID.subarray(1) }),
    ],
    ["that is new and not whole", "bad_key", ({ download }) => download.made({ ...MADE, vectorsLeft: 239 })],
    [
      "with a part that is too long",
      "bad_key",
      ({ download, first }) => [
        download.made(MADE),
        download.part({ ...first, hint: new Uint8Array(first.hint.length + 1) }),
      ],
    ],
  ])("%s is refused: %s", (_, code, act) => {
    expect(() => act(started)).toThrow(error(code));
  });

  it("that is asked for again is that one, with what is left of it", async () => {
    const { download } = await start(KEY_ID);
    expect(() => download.made({ ...MADE, keyId: new Uint8Array(16) })).toThrow(error("bad_key"));
    expect(() => download.made({ ...MADE, vectorsLeft: 7 })).not.toThrow();
  });

  it("whose signature does not hold is handed to nobody", async () => {
    const { download, key, first, last } = started;
    download.made(MADE);
    download.part(first);
    const wrong = last.signature.slice();
    wrong[9] ^= 1;
    await expect(download.part({ ...last, signature: wrong })).rejects.toEqual(error("bad_key"));
    await expect(key).rejects.toEqual(error("bad_key"));
  });
});
