/**
 * The thief's access to one group: keys, raw queries of any words, functionals of W, and honest queries. Nothing but what
 * the public client has: the kernels, the public bundle and a connection.
 */
import type { QueryReply } from "../client/connection/client-connection.ts";
import type { FetchedKey } from "../client/keys.ts";
import { type ClientKey, ClientLayer } from "../pll/client-layer.ts";
import { type Address, at, Kernels, packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { MaskSource } from "../rlwe/mask-source.ts";
import { paddedLength } from "../rlwe/parameters.ts";
import { PublicElements } from "../rlwe/public-elements.ts";
import type { GroupView } from "./group-view.ts";
import { readKey, type StolenKey } from "./stolen-key.ts";

/** A connection of one account. */
export interface ProviderAccess {
  /** @param again the same key once more; by default a new one @throws TacetError what the provider refuses with */
  fetchKey(again?: Uint8Array): Promise<FetchedKey>;
  query(group: number, vectors: number, ciphertext: Uint8Array, keyId: Uint8Array): Promise<QueryReply>;
}

/** Vectors of one message. */
const CHUNK_VECTORS = 64;
/** Messages in flight, as any client may have. */
const MOST_OPEN = 8;

export class Oracle {
  readonly view: GroupView;
  /** Activation vectors that were answered. */
  asked = 0;
  /** Keys that were fetched. */
  keys = 0;
  readonly #access: ProviderAccess;
  readonly #kernels = Kernels.load();
  readonly #pool = new BufferPool(this.#kernels);
  readonly #elements: PublicElements;
  readonly #masks: MaskSource;
  readonly #honest: ClientLayer;
  #key: StolenKey | undefined;

  constructor(view: GroupView, access: ProviderAccess) {
    this.view = view;
    this.#access = access;
    const { parameters, rows, inFeatures, tensors } = view;
    this.#elements = new PublicElements(this.#kernels, this.#pool, view.bundleId);
    this.#masks = new MaskSource(
      this.#kernels,
      this.#pool,
      parameters,
      this.#elements.element(0, false),
      systemRandom,
    );
    this.#honest = new ClientLayer(this.#kernels, this.#pool, this.#masks, this.#elements, {
      parameters,
      rows,
      inFeatures,
      scales: tensors.scales,
    });
  }

  /** A new key, or one that was made before. @throws TacetError what the provider refuses with */
  async fetchKey(again?: Uint8Array): Promise<StolenKey> {
    const key = readKey(this.view, await this.#access.fetchKey(again));
    this.keys++;
    return key;
  }

  /**
   * Asks `count` vectors of k words that the thief makes up, under one key: S·v, top b0 bits, rounded. Asks whatever is
   * left of the key.
   *
   * @param fill writes vector t into k zero words; bits below the top uploadBits are rounded away
   * @returns (count, R) words, the b0 bits at the top
   * @throws TacetError worn_key, unknown_key
   */
  async askSecret(
    key: StolenKey,
    count: number,
    fill: (t: number, words: Uint32Array) => void,
  ): Promise<Uint32Array> {
    const { rows, parameters, index } = this.view;
    const { keyLength, uploadBits, replyBits } = parameters;
    const queryBytes = packedBytes(keyLength, uploadBits);
    const replyBytes = packedBytes(rows, replyBits);
    const replies = new Uint32Array(count * rows);
    const open: Promise<void>[] = [];
    for (let first = 0; first < count; first += CHUNK_VECTORS) {
      const vectors = Math.min(CHUNK_VECTORS, count - first);
      const query = new Uint8Array(vectors * queryBytes);
      for (let t = 0; t < vectors; t++) {
        const words = new Uint32Array(keyLength);
        fill(first + t, words);
        query.set(this.#pack(words, uploadBits, queryBytes), t * queryBytes);
      }
      key.left -= vectors;
      const answer = this.#access.query(index, vectors, query, key.id).then(({ words }) => {
        for (let t = 0; t < vectors; t++) {
          const row = this.#unpack(words.subarray(t * replyBytes, (t + 1) * replyBytes), rows, replyBits);
          replies.set(row, (first + t) * rows);
        }
        this.asked += vectors;
      });
      answer.catch(() => {}); // the first one that fails is reported
      open.push(answer);
      if (open.length >= MOST_OPEN) await open.shift();
    }
    await Promise.all(open);
    return replies;
  }

  /**
   * Functionals of W for vectors x̂ = 2^shift·z that the thief makes up, under as many keys as it takes:
   *
   *   v = Mᵀ·x̂,   u = B·x̂ − S·v = (W + E)·x̂ + rounding mod 2^32
   *
   * With `masked`, v is hidden under a_0·s + e and H·s taken into account: to the provider such queries and those of an
   * honest client look alike (docs/security.md, *The query*).
   *
   * @param fill writes z into n zeros; ‖z‖₂² at most 2^27
   * @returns u as signed words, (count, R)
   */
  async askFunctional(
    count: number,
    shift: number,
    fill: (t: number, z: Int16Array) => void,
    masked = false,
  ): Promise<Int32Array> {
    const { rows, inFeatures: n } = this.view;
    const out = new Int32Array(count * rows);
    for (let first = 0; first < count; ) {
      const key = await this.#keyInHand();
      const vectors = Math.min(key.left, count - first);
      const known: Int32Array[] = [];
      const replies = await this.askSecret(key, vectors, (t, words) => {
        const z = new Int16Array(n);
        fill(first + t, z);
        words.set(this.#query(z, shift));
        known[t] = Int32Array.from({ length: rows }, (_, r) => dot(key.weights, r * n, z) << shift);
        if (masked) this.#mask(words, key, known[t]);
      });
      for (let t = 0; t < vectors; t++) {
        for (let r = 0; r < rows; r++) out[(first + t) * rows + r] = known[t][r] - replies[t * rows + r];
      }
      first += vectors;
    }
    return out;
  }

  /** Honest queries, as an ordinary client makes them. @param x (vectors, n) @returns y (vectors, R) */
  async evaluate(x: Float32Array, vectors: number): Promise<Float32Array> {
    const { inFeatures: n, rows, index } = this.view;
    const y = new Float32Array(vectors * rows);
    let loaded: { readonly of: StolenKey; readonly key: ClientKey } | undefined;
    for (let first = 0; first < vectors; ) {
      const key = await this.#keyInHand();
      if (loaded?.of !== key) {
        if (loaded) this.#honest.releaseKey(loaded.key);
        loaded = { of: key, key: this.#honest.loadKey(key.packed) };
      }
      const count = Math.min(CHUNK_VECTORS, key.left, vectors - first);
      const query = this.#honest.makeQuery(
        this.#masks.make(count),
        x.subarray(first * n, (first + count) * n),
      );
      key.left -= count;
      const { words } = await this.#access.query(index, count, query.bytes, key.id);
      this.#honest.applyKey(query, loaded.key);
      this.asked += count;
      y.set(this.#honest.recoverResult(query, words), first * rows);
      first += count;
    }
    if (loaded) this.#honest.releaseKey(loaded.key);
    return y;
  }

  /** The next queries take a new key. */
  changeKey(): void {
    this.#key = undefined;
  }

  async #keyInHand(): Promise<StolenKey> {
    if (this.#key === undefined || this.#key.left < 1) this.#key = await this.fetchKey();
    return this.#key;
  }

  /** 2^shift·Σ_j M(a_j)ᵀ·z_j, its first k words. */
  #query(z: Int16Array, shift: number): Uint32Array {
    const { keyLength } = this.view.parameters;
    const bytes = 2 * paddedLength(z.length);
    const small = this.#pool.acquire(bytes);
    const words = this.#pool.acquire(4 * keyLength);
    this.#kernels.wipe(small, bytes);
    this.#kernels.wipe(words, 4 * keyLength);
    this.#kernels.shorts(small, z.length).set(z);
    const terms = Array.from({ length: Math.ceil(z.length / RING_DEGREE) }, (_, block) => ({
      element: this.#elements.element(1 + block, true),
      small: at(small, 2 * block * RING_DEGREE) as Address,
      count: Math.min(RING_DEGREE, z.length - block * RING_DEGREE),
    }));
    this.#kernels.addProducts(terms, words, keyLength);
    const out = this.#kernels.words(words, keyLength).map((word) => word << shift);
    this.#pool.release(small, bytes);
    this.#pool.release(words, 4 * keyLength);
    return out;
  }

  /** v += a_0·s + e; known += H·s */
  #mask(words: Uint32Array, key: StolenKey, known: Int32Array): void {
    const masks = this.#masks.make(1);
    const mask = this.#kernels.words(masks.words, words.length);
    for (let i = 0; i < words.length; i++) words[i] += mask[i];
    const s = this.#kernels.shorts(masks.secrets, RING_DEGREE);
    for (let r = 0; r < known.length; r++) known[r] += dot(key.hint, r * RING_DEGREE, s);
    this.#masks.discard(masks);
  }

  #pack(words: Uint32Array, bits: number, bytes: number): Uint8Array {
    const input = this.#pool.acquire(4 * words.length);
    const packed = this.#pool.acquire(bytes);
    this.#kernels.words(input, words.length).set(words);
    this.#kernels.packTop(input, words.length, bits, packed);
    const out = this.#kernels.bytes(packed, bytes).slice();
    this.#pool.release(input, 4 * words.length);
    this.#pool.release(packed, bytes);
    return out;
  }

  #unpack(bytes: Uint8Array, count: number, bits: number): Uint32Array {
    const packed = this.#pool.acquire(bytes.length);
    const words = this.#pool.acquire(4 * count);
    this.#kernels.bytes(packed, bytes.length).set(bytes);
    this.#kernels.unpackTop(packed, count, bits, words);
    const out = this.#kernels.words(words, count).slice();
    this.#pool.release(packed, bytes.length);
    this.#pool.release(words, 4 * count);
    return out;
  }
}

/** Σ_j words[offset + j]·z_j mod 2^32, signed. */
function dot(words: Int32Array, offset: number, z: Int16Array): number {
  let sum = 0;
  for (let j = 0; j < z.length; j++) if (z[j] !== 0) sum = (sum + Math.imul(words[offset + j], z[j])) | 0;
  return sum;
}
