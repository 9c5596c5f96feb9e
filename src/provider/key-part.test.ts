import { expect, it } from "vitest";
import { makeLayer } from "../../test/support/pll-layer.ts";
import { isKeySignedBy, keyPartDigest } from "../bundle/key-signature.ts";
import { createSigningKey, publicKeyOf } from "../bundle/signature.ts";
import { systemRandom } from "../ring/random-source.ts";
import { makeKeyPart } from "./key-part.ts";

const { provider, seed, encrypted } = makeLayer(
  Float64Array.from({ length: 64 }, (_, i) => Math.sin(i)),
  2,
  32,
);
const keySigningKey = createSigningKey(systemRandom);
const identity = { bundleDigest: new Uint8Array(32).fill(1), keyId: new Uint8Array(16).fill(2) };
const maker = { bundleDigest: identity.bundleDigest, keySigningKey, layers: [provider, provider] };
const place = { keyId: identity.keyId, group: 0, before: [] };

it("is W encrypted under its seed, which is wiped", () => {
  const given = seed.slice();
  const { weights, hint, digest, signature } = makeKeyPart(maker, place, given);
  expect({ weights, hint }).toEqual(encrypted);
  expect(digest).toEqual(keyPartDigest(encrypted));
  expect(signature).toHaveLength(0);
  expect(given.every((byte) => byte === 0)).toBe(true);
});

it("the last one is signed over all of them", () => {
  const first = makeKeyPart(maker, place, seed.slice());
  const last = makeKeyPart(maker, { ...place, group: 1, before: [first.digest] }, seed.slice());
  const signer = publicKeyOf(keySigningKey);
  expect(isKeySignedBy(signer, identity, [first.digest, last.digest], last.signature)).toBe(true);
  expect(isKeySignedBy(signer, identity, [last.digest], last.signature)).toBe(false);
  expect(() => makeKeyPart(maker, { ...place, group: 1 }, seed.slice())).toThrow(RangeError);
});
