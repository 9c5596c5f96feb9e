/** What a key is drawn from: separate streams of one seed (key-secrets.ts), by row and domain. */
import { assertLength } from "../base/assert.ts";
import {
  type Address,
  type Kernels,
  RANDOM_CHUNK_BYTES,
  RING_DEGREE,
  type SmallBytes,
} from "../ring/kernels.ts";
import type { BufferPool } from "../rlwe/buffer-pool.ts";
import type { Parameters } from "../rlwe/parameters.ts";
import { KEY_SEED_BYTES } from "./key-secrets.ts";

/** Domains of a key's random streams. */
const SECRETS = 1;
const WEIGHT_ERRORS = 2;
const HINT_ERRORS = 3;
/** Of a mark's: of the odds, and of the signs. */
export const MARKS = 4;

/** What the key stream is drawn in, at least so many bytes. */
export const streamBytes = (bytes: number): number =>
  Math.ceil(bytes / RANDOM_CHUNK_BYTES) * RANDOM_CHUNK_BYTES;

/** S of one key, (rows, k) i8 or i16 in kernel memory. Secret; whoever has it wipes it. */
export type LayerSecret = Address & { readonly layerSecret: true };

/** Bytes of an entry of S: where many keys are in use, to read S is what an answer waits for. */
export const secretEntryBytes = ({ secretBits }: Parameters): SmallBytes => (secretBits <= 7 ? 1 : 2);

/** The random streams of one key: S, E and E_H of each row. */
export class SecretStream {
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #parameters: Parameters;
  readonly #seed: Address;

  /** @throws RangeError on a seed of another length */
  constructor(kernels: Kernels, pool: BufferPool, parameters: Parameters, seed: Uint8Array) {
    this.#kernels = kernels;
    this.#pool = pool;
    this.#parameters = parameters;
    assertLength(seed, "seed", KEY_SEED_BYTES);
    this.#seed = pool.acquire(KEY_SEED_BYTES);
    kernels.bytes(this.#seed, KEY_SEED_BYTES).set(seed);
  }

  /** S_row to out, i8[k] or i16[k]. */
  secret(row: number, out: Address): void {
    const { keyLength, secretBits } = this.#parameters;
    this.#draw(row, SECRETS, keyLength, (random) =>
      this.#kernels.sampleUniform(random, keyLength, secretBits, out, secretEntryBytes(this.#parameters)),
    );
  }

  /** words += E_row, u32[count]. */
  addWeightErrors(row: number, words: Address, count: number): void {
    const { weightErrorBits } = this.#parameters;
    this.#draw(row, WEIGHT_ERRORS, count, (random) =>
      this.#kernels.addUniform(words, count, weightErrorBits, random),
    );
  }

  /** words += E_H,row, u32[N]. */
  addHintErrors(row: number, words: Address): void {
    const { hintErrorBits } = this.#parameters;
    this.#draw(row, HINT_ERRORS, RING_DEGREE, (random) =>
      this.#kernels.addUniform(words, RING_DEGREE, hintErrorBits, random),
    );
  }

  wipe(): void {
    this.#pool.release(this.#seed, KEY_SEED_BYTES);
  }

  /** Two bytes for each of `count` integers. */
  #draw(row: number, domain: number, count: number, use: (random: Address) => void): void {
    const bytes = streamBytes(2 * count);
    const random = this.#pool.acquire(bytes);
    try {
      this.#kernels.expandRandom(this.#seed, row, domain, random, bytes);
      use(random);
    } finally {
      this.#pool.release(random, bytes);
    }
  }
}
