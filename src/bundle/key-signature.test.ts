import { describe, expect, it } from "vitest";
import { concatBytes } from "../base/bytes.ts";
import { systemRandom } from "../ring/random-source.ts";
import { isKeySignedBy, keyPartDigest, signKey } from "./key-signature.ts";
import { createSigningKey, publicKeyOf } from "./signature.ts";

const key = createSigningKey(systemRandom);
const signer = publicKeyOf(key);
const identity = { bundleDigest: new Uint8Array(32).fill(1), keyId: new Uint8Array(16).fill(2) };
const parts = [
  { weights: Uint8Array.of(1, 2, 3), hint: Uint8Array.of(4, 5) },
  { weights: Uint8Array.of(6), hint: Uint8Array.of(7, 8) },
  { weights: Uint8Array.of(9, 9), hint: Uint8Array.of(9) },
];
const digestsOf = (of: typeof parts) => of.map((part) => keyPartDigest(part));
const signature = signKey(key, identity, digestsOf(parts));

describe("the signature of a key", () => {
  it("holds for what was signed", () => {
    expect(isKeySignedBy(signer, identity, digestsOf(parts), signature)).toBe(true);
  });

  it.each<[string, () => boolean]>([
    ["another bundle", () => holds({ bundleDigest: new Uint8Array(32) })],
    ["another key", () => holds({ keyId: new Uint8Array(16) })],
    ["other weights", () => holds({}, changed(0, { weights: Uint8Array.of(1, 2, 4) }))],
    ["another hint of the last part", () => holds({}, changed(2, { hint: Uint8Array.of(8) }))],
    ["two parts swapped", () => holds({}, [parts[1], parts[0], parts[2]])],
    ["a part twice", () => holds({}, [parts[0], parts[0], parts[2]])],
    ["the last part missing", () => holds({}, parts.slice(0, 2))],
    ["a part more", () => holds({}, [...parts, parts[0]])],
    ["no part", () => holds({}, [])],
    [
      "two digests as one part",
      () => {
        const [a, b, c] = digestsOf(parts);
        return isKeySignedBy(signer, identity, [keyPartDigest({ weights: a, hint: b }), c], signature);
      },
    ],
    [
      "a digest moved into the key's id",
      () =>
        isKeySignedBy(
          signer,
          { ...identity, keyId: concatBytes(identity.keyId, digestsOf(parts)[0]) },
          digestsOf(parts).slice(1),
          signature,
        ),
    ],
    ["nothing", () => isKeySignedBy(signer, identity, digestsOf(parts), new Uint8Array(0))],
    ["another signer", () => isKeySignedBy(publicKeyOf(signer), identity, digestsOf(parts), signature)],
  ])("does not hold for %s", (_, check) => expect(check()).toBe(false));

  function changed(at: number, change: Partial<(typeof parts)[number]>): typeof parts {
    return parts.map((part, i) => (i === at ? { ...part, ...change } : part));
  }

  function holds(change: Partial<typeof identity>, of = parts): boolean {
    return isKeySignedBy(signer, { ...identity, ...change }, digestsOf(of), signature);
  }
});
