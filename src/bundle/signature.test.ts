import { ed25519 } from "@noble/curves/ed25519.js";
import { describe, expect, it } from "vitest";
import { fromHex, toHex } from "../base/bytes.ts";
import { systemRandom } from "../ring/random-source.ts";
import {
  createSigningKey,
  decodeSignature,
  encodeSignature,
  isSignedBy,
  isSignedByKey,
  signBundle,
} from "./signature.ts";

const key = Uint8Array.from({ length: 32 }, (_, i) => i);
const digest = new Uint8Array(32).fill(7);

describe("bundle signatures", () => {
  it("are Ed25519: the first vector of RFC 8032, section 7.1", () => {
    const secret = fromHex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    expect(toHex(ed25519.getPublicKey(secret))).toBe(
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    );
    expect(toHex(ed25519.sign(new Uint8Array(0), secret))).toBe(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    );
  });

  it("keep their bytes", () => {
    expect(toHex(encodeSignature(signBundle(key, digest)))).toBe(
      "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b878b0070e19130787635b25a5551882bb56b98cc9ddf0ace66fbef9c313a80053512c9708f9e675ccff4677f214f6c390748132a0576bd1b60d3a42776b729204",
    );
  });

  it("hold for the digest and the key, and for nothing else", () => {
    const made = signBundle(key, digest);
    const other = signBundle(createSigningKey(systemRandom), digest);
    expect(isSignedBy(made, digest)).toBe(true);
    expect(isSignedByKey(made, digest, made.publicKey)).toBe(true);
    expect(
      isSignedBy(
        made,
        digest.map((byte) => byte ^ 1),
      ),
    ).toBe(false);
    expect(isSignedByKey(other, digest, made.publicKey)).toBe(false);
    expect(isSignedByKey(undefined, digest, made.publicKey)).toBe(false);
    expect(isSignedBy({ ...made, publicKey: other.publicKey }, digest)).toBe(false);
    const bytes = encodeSignature(made);
    for (let bit = 0; bit < 8 * bytes.length; bit += 7) {
      const copy = bytes.slice();
      copy[bit >> 3] ^= 1 << (bit & 7);
      expect(isSignedBy(decodeSignature(copy)!, digest)).toBe(false);
    }
    for (const length of [0, 32, 95, 97]) expect(decodeSignature(new Uint8Array(length))).toBeUndefined();
    // The neutral element as key and R, S = 0: holds for every message unless points of small order are refused.
    const small = { publicKey: new Uint8Array(32), signature: new Uint8Array(64) };
    small.publicKey[0] = small.signature[0] = 1;
    expect(isSignedBy(small, digest)).toBe(false);
  });
});
