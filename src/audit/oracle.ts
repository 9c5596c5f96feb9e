/**
 * The thief's access to one group: raw queries of any words, and honest ones. Nothing but what the public client has:
 * the kernels, the public bundle and a {@link QueryTransport}.
 */
import type { QueryTransport } from "../client/remote-adapter.ts";
import { ClientLayer } from "../pll/client-layer.ts";
import { Kernels, packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { MaskSource, wordStride } from "../rlwe/mask-source.ts";
import { uploadBits } from "../rlwe/parameters.ts";
import { expandLayout } from "../rlwe/public-elements.ts";
import type { GroupView } from "./group-view.ts";

/** Vectors of one message. */
const CHUNK_VECTORS = 64;

export class Oracle {
  readonly view: GroupView;
  /** Activation vectors that were answered. */
  asked = 0;
  readonly #transport: QueryTransport;
  readonly #kernels = Kernels.load();
  readonly #pool = new BufferPool(this.#kernels);
  readonly #masks = new MaskSource(this.#kernels, this.#pool, systemRandom);
  readonly #elements: ReturnType<typeof expandLayout>;
  readonly #honest: ClientLayer;

  constructor(view: GroupView, transport: QueryTransport) {
    this.view = view;
    this.#transport = transport;
    this.#elements = expandLayout(this.#kernels, this.#pool, view.layout, view.bundleId, view.index);
    this.#honest = new ClientLayer(this.#kernels, this.#pool, this.#masks, {
      parameters: view.parameters,
      rows: view.rows,
      inFeatures: view.inFeatures,
      elements: this.#elements,
      hint: view.tensors.hint,
      scales: view.tensors.scales,
      normBound: view.spec.normBound,
    });
  }

  /**
   * Asks `count` vectors of words that the thief makes up: [W | P]·v, its top b0 bits, rounded.
   *
   * @param fill writes vector t into n + n_pad zero words; bits below the 30 that are sent are rounded away
   * @returns (count, R) words, the b0 bits at the top
   */
  async ask(count: number, fill: (t: number, words: Uint32Array) => void): Promise<Uint32Array> {
    const { layout, rows, parameters, replyBits, index } = this.view;
    const bits = uploadBits(parameters);
    const queryBytes = packedBytes(layout.words, bits);
    const replyBytes = packedBytes(rows, replyBits);
    const replies = new Uint32Array(count * rows);
    const pending: Promise<void>[] = [];
    for (let first = 0; first < count; first += CHUNK_VECTORS) {
      const vectors = Math.min(CHUNK_VECTORS, count - first);
      const query = new Uint8Array(vectors * queryBytes);
      for (let t = 0; t < vectors; t++) {
        const words = new Uint32Array(layout.words);
        fill(first + t, words);
        query.set(this.#pack(words, bits, queryBytes), t * queryBytes);
      }
      const answer = this.#transport.query(index, vectors, query);
      pending.push(
        answer.then(({ words }) => {
          for (let t = 0; t < vectors; t++) {
            const row = this.#unpack(words.subarray(t * replyBytes, (t + 1) * replyBytes), rows, replyBits);
            replies.set(row, (first + t) * rows);
          }
          this.asked += vectors;
        }),
      );
      // A few messages in flight, as any client may have.
      if (pending.length >= 8) await pending.shift();
    }
    await Promise.all(pending);
    return replies;
  }

  /**
   * As {@link ask}, with every vector hidden under a fresh mask C·s + e, and H·s removed from the reply: to the provider
   * the queries of a thief and of an honest client look alike (docs/security.md, *The query*).
   */
  async askMasked(count: number, fill: (t: number, words: Uint32Array) => void): Promise<Uint32Array> {
    const { layout, rows, parameters } = this.view;
    const stride = wordStride(layout);
    const secrets: Int16Array[] = [];
    const replies = await this.ask(count, (t, words) => {
      fill(t, words);
      const mask = this.#pool.acquire(4 * stride);
      const secret = this.#pool.acquire(2 * RING_DEGREE);
      this.#masks.refresh();
      this.#masks.fill(layout, this.#elements, mask, secret);
      const view = this.#kernels.words(mask, layout.words);
      for (let i = 0; i < words.length; i++) words[i] += view[i];
      secrets[t] = this.#kernels.shorts(secret, RING_DEGREE).slice();
      this.#pool.release(mask, 4 * stride);
      this.#pool.release(secret, 2 * RING_DEGREE);
    });
    const hint = hintWords(this.view.tensors.hint, parameters.hintBits);
    for (let t = 0; t < count; t++) {
      for (let r = 0; r < rows; r++) {
        let product = 0;
        for (let j = 0; j < RING_DEGREE; j++) {
          product = (product + Math.imul(hint[r * RING_DEGREE + j], secrets[t][j])) | 0;
        }
        replies[t * rows + r] -= product;
      }
    }
    return replies;
  }

  /** Honest queries, as an ordinary client makes them. @param x (vectors, n) @returns y (vectors, R) */
  async evaluate(x: Float32Array, vectors: number): Promise<Float32Array> {
    const { inFeatures: n, rows, index } = this.view;
    const y = new Float32Array(vectors * rows);
    for (let first = 0; first < vectors; first += CHUNK_VECTORS) {
      const count = Math.min(CHUNK_VECTORS, vectors - first);
      const masks = this.#honest.prepareMasks(count);
      const query = this.#honest.makeQuery(masks, x.subarray(first * n, (first + count) * n));
      const { words } = await this.#transport.query(index, count, query);
      this.asked += count;
      y.set(this.#honest.recoverResult(masks, words), first * rows);
    }
    return y;
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

/** The published top bits of H as words, (rows, N). */
export function hintWords(hint: Uint8Array, hintBits: number): Uint32Array {
  const count = (8 * hint.length) / hintBits;
  const words = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    let word = 0;
    for (let bit = 0; bit < hintBits; bit++) {
      const at = i * hintBits + bit;
      word |= ((hint[at >> 3] >> (at & 7)) & 1) << (bit + 32 - hintBits);
    }
    words[i] = word;
  }
  return words;
}
