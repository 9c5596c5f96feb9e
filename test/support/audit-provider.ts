/** A provider with both ends in one process: the real private layers and the rules of keys, without a socket. */

import type { ProviderAccess } from "../../src/audit/oracle.ts";
import { concatBytes, toHex, utf8 } from "../../src/base/bytes.ts";
import { TacetError } from "../../src/base/errors.ts";
import { keySeed } from "../../src/pll/key-secrets.ts";
import { ProviderLayer } from "../../src/pll/provider-layer.ts";
import type { LayerSecret } from "../../src/pll/secret-stream.ts";
import { groupMark } from "../../src/pll/marks.ts";
import { Kernels } from "../../src/ring/kernels.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { BufferPool } from "../../src/rlwe/buffer-pool.ts";
import type { Parameters } from "../../src/rlwe/parameters.ts";
import { PublicElements } from "../../src/rlwe/public-elements.ts";

/** What replicas share and a restart keeps: the epoch, and how much of each key is used. */
export class AuditStore {
  readonly epoch = new Uint8Array(8);
  /** Account → key → vectors it has answered, by group. */
  readonly used = new Map<string, Map<string, number[]>>();

  constructor() {
    systemRandom(this.epoch);
  }
}

/** What a provider may do wrong: audits must see it. */
export type AuditFault = "separate counts" | "fresh errors" | "no count";

export interface AuditAdapter {
  readonly parameters: Parameters;
  readonly bundleId: Uint8Array;
  readonly bundleDigest: Uint8Array;
  readonly rootSecret: Uint8Array;
  /** Accounts are marked. */
  readonly markSecret?: Uint8Array | undefined;
  readonly groups: readonly {
    readonly rows: number;
    readonly inFeatures: number;
    readonly weights: Int32Array;
  }[];
}

/** All groups of one adapter. */
export class AuditProvider {
  readonly layers: readonly ProviderLayer[];
  readonly #input: AuditAdapter;
  readonly #store: AuditStore;
  readonly #fault: AuditFault | undefined;

  constructor(input: AuditAdapter, store: AuditStore, fault?: AuditFault) {
    this.#input = input;
    this.#fault = fault;
    this.#store = store;
    const kernels = Kernels.load();
    const pool = new BufferPool(kernels);
    const elements = new PublicElements(kernels, pool, input.bundleId);
    const { parameters } = input;
    this.layers = input.groups.map(
      (group) => new ProviderLayer(kernels, pool, elements, { parameters, ...group }),
    );
  }

  /** A connection of this account. */
  connect(account: string): ProviderAccess {
    const secrets = new Map<string, LayerSecret>();
    const { vectorsPerKey } = this.#input.parameters;
    const stored = this.#store.used.get(account) ?? new Map<string, number[]>();
    this.#store.used.set(account, stored);
    const used = this.#fault === "separate counts" ? new Map<string, number[]>() : stored;
    const usedOf = (id: Uint8Array): number[] => {
      const count = used.get(toHex(id)) ?? stored.get(toHex(id))?.map(() => 0);
      if (count === undefined) throw new TacetError("unknown_key", "no such key");
      used.set(toHex(id), count);
      return count;
    };
    return {
      fetchKey: async (again) => {
        const id = again ?? concatBytes(this.#store.epoch, serial(stored.size + 1));
        if (again === undefined)
          stored.set(
            toHex(id),
            this.layers.map(() => 0),
          );
        const vectorsLeft = vectorsPerKey - Math.max(...usedOf(id));
        const groups = this.layers.map((layer, group) => {
          const seed = this.#seed(account, id, group);
          if (this.#fault === "fresh errors") systemRandom(seed);
          const { parameters, markSecret } = this.#input;
          return layer.encryptWeights(
            seed,
            markSecret && groupMark(parameters, markSecret, utf8(account), group),
          );
        });
        return { id, vectorsLeft, groups, signature: new Uint8Array(64) };
      },
      query: async (group, vectors, ciphertext, id) => {
        const counts = usedOf(id);
        if (counts[group] + vectors > vectorsPerKey && this.#fault !== "no count") {
          throw new TacetError("worn_key", "the key is worn out");
        }
        counts[group] += vectors;
        const name = `${toHex(id)} ${group}`;
        const layer = this.layers[group];
        const secret = secrets.get(name) ?? layer.deriveSecret(this.#seed(account, id, group));
        secrets.set(name, secret);
        return { words: layer.answerQuery(secret, ciphertext, vectors), providerMs: 0 };
      },
    };
  }

  #seed(account: string, keyId: Uint8Array, group: number): Uint8Array {
    const { rootSecret, bundleDigest, parameters } = this.#input;
    const { weightsDigest, elementsDigest } = this.layers[group];
    const digests = { bundleDigest, weightsDigest, elementsDigest };
    return keySeed({ rootSecret, ...digests, parameters, account: utf8(account), keyId, group });
  }
}

function serial(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setUint32(4, value);
  return bytes;
}
