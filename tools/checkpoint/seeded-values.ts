/**
 * Fast seeded normal numbers for weights: 16 random bits choose one of 65536 values. The same seed and name give
 * the same numbers in every storage type, up to its rounding, whatever file they go to.
 */
import { createHash } from "node:crypto";
import { toFloat16 } from "../../src/base/float16.ts";

export type StorageType = "F32" | "F16" | "BF16";

/** Values made at once: a megabyte of F16 stays in the cache. */
const BLOCK = 1 << 19;

export function encodeValues(values: Float32Array, type: StorageType): Uint8Array {
  if (type === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return new Uint8Array((type === "F16" ? toFloat16(values) : toBfloat16(values)).buffer);
}

/** Round to nearest, ties to even; finite values only. */
function toBfloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.slice().buffer);
  return Uint16Array.from(words, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
}

/** Makes the entries of tensors, mean + std·normal, block by block; blocks are overwritten by the next one. */
export class SeededValues {
  readonly #seed: string;
  readonly #type: StorageType;
  readonly #normals = normalTable();
  readonly #tables = new Map<string, Uint16Array | Uint32Array>();
  readonly #words = new Uint32Array(BLOCK / 2);
  readonly #block: Uint16Array | Uint32Array;

  constructor(seed: string, type: StorageType) {
    this.#seed = seed;
    this.#type = type;
    this.#block = type === "F32" ? new Uint32Array(BLOCK) : new Uint16Array(BLOCK);
  }

  /** The bytes of tensor `name`, `count` entries. */
  *blocks(name: string, count: number, mean: number, std: number): Generator<Uint8Array> {
    const table = this.#table(mean, std);
    const digest = createHash("sha256").update(`${this.#seed}/${name}`).digest();
    const state = Uint32Array.from([0, 4, 8, 12], (at) => digest.readUInt32LE(at));
    for (let done = 0; done < count; done += BLOCK) {
      const length = Math.min(BLOCK, count - done);
      fillWords(state, this.#words);
      lookUp(table, new Uint16Array(this.#words.buffer), this.#block, length);
      const bytes = this.#block.BYTES_PER_ELEMENT * length;
      yield new Uint8Array(this.#block.buffer, 0, bytes);
    }
  }

  /** Encoded mean + std·normal for each 16-bit number. */
  #table(mean: number, std: number): Uint16Array | Uint32Array {
    const key = `${mean} ${std}`;
    let table = this.#tables.get(key);
    if (table === undefined) {
      const bytes = encodeValues(
        this.#normals.map((value) => mean + std * value),
        this.#type,
      );
      table = this.#type === "F32" ? new Uint32Array(bytes.buffer) : new Uint16Array(bytes.buffer);
      this.#tables.set(key, table);
    }
    return table;
  }
}

function lookUp(
  table: Uint16Array | Uint32Array,
  indexes: Uint16Array,
  out: Uint16Array | Uint32Array,
  length: number,
): void {
  for (let i = 0; i < length; i++) out[i] = table[indexes[i]];
}

/** xoshiro128++ (Blackman, Vigna): fills `out` and moves the state on. */
function fillWords(state: Uint32Array, out: Uint32Array): void {
  let [a, b, c, d] = state;
  for (let i = 0; i < out.length; i++) {
    const sum = (a + d) | 0;
    out[i] = (((sum << 7) | (sum >>> 25)) + a) | 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
  }
  state.set([a, b, c, d]);
}

/** 65536 standard normal numbers by Box–Muller, always the same; the largest is about 4.3. */
function normalTable(): Float32Array {
  const words = new Uint32Array(1 << 16);
  fillWords(Uint32Array.of(0x9e3779b9, 0x243f6a88, 0xb7e15162, 0x71374491), words);
  const table = new Float32Array(words.length);
  for (let i = 0; i < table.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log((words[i] + 0.5) / 2 ** 32));
    const angle = (2 * Math.PI * words[i + 1]) / 2 ** 32;
    table[i] = radius * Math.cos(angle);
    table[i + 1] = radius * Math.sin(angle);
  }
  return table;
}
