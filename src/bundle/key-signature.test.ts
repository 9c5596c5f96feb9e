import { describe, expect, it } from "vitest";
import { systemRandom } from "../ring/random-source.ts";
import { isKeyPartSignedBy, signKeyPart } from "./key-signature.ts";
import { createSigningKey, publicKeyOf } from "./signature.ts";

const key = createSigningKey(systemRandom);
const signer = publicKeyOf(key);
const identity = { bundleDigest: new Uint8Array(32).fill(1), keyId: new Uint8Array(16).fill(2), group: 3 };
const part = { weights: Uint8Array.of(1, 2, 3), hint: Uint8Array.of(4, 5) };
const signature = signKeyPart(key, identity, part);

describe("the signature of a part of a key", () => {
  it("holds for what was signed", () => {
    expect(isKeyPartSignedBy(signer, identity, part, signature)).toBe(true);
  });

  it.each<[string, () => boolean]>([
    ["another bundle", () => holds({ bundleDigest: new Uint8Array(32) })],
    ["another key", () => holds({ keyId: new Uint8Array(16) })],
    ["another group", () => holds({ group: 259 })],
    ["other weights", () => holds({}, { ...part, weights: Uint8Array.of(1, 2, 4) })],
    ["another hint", () => holds({}, { ...part, hint: Uint8Array.of(4, 6) })],
    ["nothing", () => isKeyPartSignedBy(signer, identity, part, new Uint8Array(0))],
    ["another signer", () => isKeyPartSignedBy(publicKeyOf(signer), identity, part, signature)],
  ])("does not hold for %s", (_, check) => expect(check()).toBe(false));

  function holds(change: Partial<typeof identity>, of = part): boolean {
    return isKeyPartSignedBy(signer, { ...identity, ...change }, of, signature);
  }
});
