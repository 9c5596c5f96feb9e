/**
 * Ed25519 by OpenSSL: signatures take a tenth of the time they take in JavaScript, and the first of a process, before
 * JavaScript is compiled, a hundredth.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { concatBytes } from "../../base/bytes.ts";
import type { PublicKeyEd25519, SignEd25519 } from "../../base/platform.ts";

/** What PKCS #8 (RFC 8410, section 7) has before the key's 32 bytes. */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

/** Those who sign do it with the same array each time: a private key is expanded once. */
const expanded = new WeakMap<Uint8Array, KeyObject>();

export const nodeSignEd25519: SignEd25519 = (message, signingKey) =>
  new Uint8Array(sign(null, message, expandedOf(signingKey)));

export const nodePublicKeyEd25519: PublicKeyEd25519 = (signingKey) => {
  const { x } = createPublicKey(expandedOf(signingKey)).export({ format: "jwk" });
  return new Uint8Array(Buffer.from(x!, "base64url"));
};

function expandedOf(signingKey: Uint8Array): KeyObject {
  let key = expanded.get(signingKey);
  if (key === undefined) {
    const encoded = concatBytes(PKCS8_HEAD, signingKey);
    try {
      key = createPrivateKey({ key: Buffer.from(encoded.buffer), format: "der", type: "pkcs8" });
    } finally {
      encoded.fill(0);
    }
    expanded.set(signingKey, key);
  }
  return key;
}
