/**
 * What a key is made of, always the same for the same key: the seed of its random stream is a PRF of all that the key
 * belongs to, and nothing else enters it. Fresh errors on a repeated request could be averaged away, and S would follow
 * by linear algebra (docs/security.md, rule 2).
 *
 *   seed = SHAKE256("tacet/v2/key" ‖ len ‖ root secret ‖ len ‖ bundle digest ‖ …), 32 bytes, a key of ChaCha20
 *
 * How M is made belongs to it: were the same S and E ever used with two matrices M and M̃, B − B̃ = (M − M̃)·S would
 * have no error, and S would follow by linear algebra. So the first public element and two versions enter the seed.
 *
 * Row r of S, E and E_H are the stream's bytes under the nonce (r, domain): separate streams of one key.
 */
import { shake256 } from "@noble/hashes/sha3.js";
import { assertInteger, assertLength } from "../base/assert.ts";
import { utf8 } from "../base/bytes.ts";
import { PROTOCOL_VERSION } from "../base/protocol-version.ts";
import type { Parameters } from "../rlwe/parameter-set.ts";

const DOMAIN = utf8("tacet/v2/key");
/**
 * Raised whenever B or H of a key would change: samplers, order of draws, expansion of public elements, products,
 * transposes, roundings.
 */
export const KEY_VERSION = 1;
/** Bytes of a root secret, of a key id, of a seed. */
export const ROOT_SECRET_BYTES = 32;
export const KEY_ID_BYTES = 16;
export const KEY_SEED_BYTES = 32;

/** What a group's secrets are derived from. Keys that differ in any of it have unrelated secrets. */
export interface KeySeedInput {
  /** The provider's, new for each epoch of its counts. */
  readonly rootSecret: Uint8Array;
  /** SHA-256 of the bundle. */
  readonly bundleDigest: Uint8Array;
  /** SHA-256 of the group's W: another W has another S whatever else is equal. */
  readonly weightsDigest: Uint8Array;
  /** SHA-256 of the bytes of a_0: another M has another S. */
  readonly elementsDigest: Uint8Array;
  readonly parameters: Parameters;
  /** Unique for ever, not a name that may be given again. */
  readonly account: Uint8Array;
  /** Given by the provider, never twice to one account. */
  readonly keyId: Uint8Array;
  readonly group: number;
}

/** The seed of one group's key. Secret. No copy of the root secret is left behind. */
export function keySeed(identity: KeySeedInput): Uint8Array {
  assertLength(identity.rootSecret, "rootSecret", ROOT_SECRET_BYTES);
  assertLength(identity.bundleDigest, "bundleDigest", 32);
  assertLength(identity.weightsDigest, "weightsDigest", 32);
  assertLength(identity.elementsDigest, "elementsDigest", 32);
  assertLength(identity.keyId, "keyId", KEY_ID_BYTES);
  const parts = [
    identity.rootSecret,
    identity.bundleDigest,
    identity.weightsDigest,
    identity.elementsDigest,
    utf8(JSON.stringify(identity.parameters)),
    identity.account,
    identity.keyId,
    le32(identity.group),
    le32(PROTOCOL_VERSION),
    le32(KEY_VERSION),
  ];
  // Absorbed one by one: joined, they would be a copy of the root secret. digest() wipes the state.
  const hash = shake256.create({ dkLen: KEY_SEED_BYTES }).update(DOMAIN);
  // Each with its length, so that no two lists of parts read alike.
  for (const part of parts) hash.update(le32(part.length)).update(part);
  return hash.digest();
}

function le32(value: number): Uint8Array {
  assertInteger(value, "integer", 0, 2 ** 32 - 1);
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}
