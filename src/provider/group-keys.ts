/** The keys of an adapter: which seed belongs to an account's key, and how a query is told that its key is no good. */
import { shake256 } from "@noble/hashes/sha3.js";
import { equalBytes, toHex, utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { type GroupMark, groupMark } from "../pll/marks.ts";
import { keySeed, ROOT_SECRET_BYTES } from "../pll/key-secrets.ts";
import { EPOCH_BYTES } from "./key-ids.ts";
import type { GroupKey } from "./layer-secrets.ts";
import type { ServedAdapter } from "./served-adapter.ts";

const MARKED_DOMAIN = utf8("tacet/v2/marked-weights");
const EPOCH_DOMAIN = utf8("tacet/v2/epoch");

/**
 * The key of a group.
 *
 *     root secret of an epoch = SHAKE256("tacet/v2/epoch" ‖ root secret of the state folder ‖ epoch), 32 bytes
 *
 * An epoch's counts and its keys end together: what a restored store has forgotten is no key any more.
 *
 * @param account whose key it is; a name that is given again goes on with the serials of the former one, so that the same
 *   name and key id never mean two keys
 */
export function groupKeyOf(
  adapter: ServedAdapter,
  account: string,
  keyId: Uint8Array,
  group: number,
): GroupKey {
  return groupKey(adapter, account, keyId, group, nameOf(adapter, account, keyId));
}

/** The keys of one account, which mostly names the same one again. */
export class GroupKeys {
  readonly #adapter: ServedAdapter;
  readonly #account: string;
  #keyId: Uint8Array = new Uint8Array(0);
  #name = "";

  constructor(adapter: ServedAdapter, account: string) {
    this.#adapter = adapter;
    this.#account = account;
  }

  /** As {@link groupKeyOf}. */
  of(keyId: Uint8Array, group: number): GroupKey {
    if (!equalBytes(keyId, this.#keyId)) {
      this.#keyId = keyId.slice();
      this.#name = nameOf(this.#adapter, this.#account, keyId);
    }
    return groupKey(this.#adapter, this.#account, keyId, group, this.#name);
  }
}

/** The length keeps names apart whatever account and adapter are called. */
function nameOf(adapter: ServedAdapter, account: string, keyId: Uint8Array): string {
  return `${toHex(keyId)} ${account.length} ${account} ${adapter.name}`;
}

function groupKey(
  adapter: ServedAdapter,
  account: string,
  keyId: Uint8Array,
  group: number,
  name: string,
): GroupKey {
  const { markSecret, layers, bundle } = adapter;
  const { parameters } = bundle.manifest;
  const mark = markSecret && (() => groupMark(parameters, markSecret, utf8(account), group));
  return {
    name,
    group,
    mark,
    seed() {
      const epoch = keyId.subarray(0, EPOCH_BYTES);
      const { weightsDigest, elementsDigest } = layers[group];
      // Absorbed one by one: joined, they would be a copy of the root secret. digest() wipes the state.
      const hash = shake256.create({ dkLen: ROOT_SECRET_BYTES });
      const rootSecret = hash.update(EPOCH_DOMAIN).update(adapter.rootSecret).update(epoch).digest();
      try {
        return keySeed({
          rootSecret,
          bundleDigest: bundle.digest,
          weightsDigest: mark ? markedDigest(weightsDigest, mark()) : weightsDigest,
          elementsDigest,
          parameters,
          account: utf8(account),
          keyId,
          group,
        });
      } finally {
        rootSecret.fill(0);
      }
    },
  };
}

/** Stands for W + D: were S the same with and without marks, the difference of two keys would be D. */
function markedDigest(weightsDigest: Uint8Array, { signsSeed, oddsSeed, amplitude }: GroupMark): Uint8Array {
  const size = Uint8Array.of(amplitude, amplitude >>> 8, amplitude >>> 16);
  const hash = shake256.create({ dkLen: 32 }).update(MARKED_DOMAIN).update(weightsDigest);
  return hash.update(signsSeed).update(oddsSeed).update(size).digest();
}

/** A key that a query or request names can't be used. */
export function keyRefused(code: "unknown_key" | "worn_key"): TacetError {
  const what =
    code === "worn_key"
      ? "the key has answered as many vectors as one key may"
      : "the provider has no such key of this account, or not any more";
  return new TacetError(code, what, { hint: "ask for another key; the query may be sent again under it" });
}
