import { expect, it } from "vitest";
import { makeLayer } from "../../test/support/pll-layer.ts";
import { isKeySignedBy, keyPartDigest } from "../bundle/key-signature.ts";
import { createSigningKey, publicKeyOf } from "../bundle/signature.ts";
import { systemRandom } from "../ring/random-source.ts";
import type { ProviderLayer } from "../pll/provider-layer.ts";
import { type KeyPartMaker, makeKeyPart } from "./key-part.ts";

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
});

it("that cannot be begun, or fails on the way, leaves no seed behind", () => {
  const fails = (layer: Partial<ProviderLayer>) => ({ ...maker, layers: [layer as ProviderLayer, provider] });
  const failing = () => {
    throw new RangeError("no memory");
  };
  const parts: [KeyPartMaker, number][] = [
    [maker, 1], // without the parts before it
    [fails({ beginEncryption: failing }), 0],
    [fails({ beginEncryption: () => ({ ...provider.beginEncryption(seed), next: failing }) }), 0],
  ];
  for (const [each, group] of parts) {
    const given = seed.slice();
    expect(() => makeKeyPart(each, { ...place, group }, given)).toThrow(RangeError);
    expect(given.every((byte) => byte === 0)).toBe(true);
  }
});
