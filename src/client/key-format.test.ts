import { beforeAll, describe, expect, it } from "vitest";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { type Bundle, decodeBundle } from "../bundle/bundle.ts";
import { createSigningKey, publicKeyOf } from "../bundle/signature.ts";
import { signKey } from "../bundle/key-signature.ts";
import { toHex } from "../base/bytes.ts";
import { systemRandom } from "../ring/random-source.ts";
import { type KeyFormat, keyFormatOf } from "./key-format.ts";

const KEY_ID = new Uint8Array(16).fill(3);
const signing = createSigningKey(systemRandom);
let bundle: Bundle;
let format: KeyFormat;
beforeAll(async () => {
  const made = await decodeBundle((await tinyBundle()).bundle);
  bundle = { ...made, manifest: { ...made.manifest, keySigner: toHex(publicKeyOf(signing)) } };
  format = keyFormatOf(bundle, undefined);
});

const part = (group: number, fill: number) => ({
  weights: new Uint8Array(format.lengths[group].weights).fill(fill),
  hint: new Uint8Array(format.lengths[group].hint).fill(fill),
});

describe("a part", () => {
  it("is copied: what it came in may be used again", () => {
    const came = part(0, 1);
    const copy = format.copy(KEY_ID, 0, came);
    came.weights.fill(9);
    came.hint.fill(9);
    expect(copy).toEqual(part(0, 1));
  });

  it.each([
    ["weights", 1],
    ["weights", -1],
    ["hint", 1],
    ["hint", -1],
  ] as const)("whose %s are %i byte longer is refused, before anything is copied", (field, more) => {
    const came = part(1, 1);
    const wrong = { ...came, [field]: new Uint8Array(came[field].length + more) };
    wrong[field].slice = () => expect.fail("copied");
    expect(() => format.copy(KEY_ID, 1, wrong)).toThrow(expect.objectContaining({ code: "bad_key" }));
  });
});

describe("a key", () => {
  it("is one if the bundle's signer has signed all its parts, and only then", async () => {
    const digests = await Promise.all([part(0, 1), part(1, 2)].map((each) => format.digest(each)));
    const sign = (of: readonly Uint8Array[], keyId = KEY_ID, bundleDigest = bundle.digest) =>
      signKey(signing, { bundleDigest, keyId }, of);
    const refused = expect.objectContaining({ code: "bad_key" });
    expect(() => format.check(KEY_ID, digests, sign(digests))).not.toThrow();
    expect(() => format.check(KEY_ID, digests, sign(digests, new Uint8Array(16)))).toThrow(refused);
    expect(() => format.check(KEY_ID, digests, sign(digests, KEY_ID, new Uint8Array(32)))).toThrow(refused);
    expect(() => format.check(KEY_ID, digests, sign([...digests].reverse()))).toThrow(refused);
    // Signed by the right one, and yet not a whole key.
    expect(() => format.check(KEY_ID, digests.slice(1), sign(digests.slice(1)))).toThrow(refused);
    expect(() => format.check(KEY_ID, [...digests, digests[0]], sign([...digests, digests[0]]))).toThrow(
      refused,
    );
  });
});
