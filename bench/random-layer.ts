// A random LoRA layer and activation with the float answer: what every layer bench computes and is checked by.

/** y = B·u, u = A·x; A: r×n, B: m×r, row-major, all entries of x, A, B standard normal. */
export interface RandomLayer {
  readonly n: number;
  readonly r: number;
  readonly m: number;
  readonly x: Float64Array;
  readonly A: Float64Array;
  readonly B: Float64Array;
  readonly u: Float64Array;
  readonly y: Float64Array;
}

export function randomLayer(n: number, r: number, m: number, seed = 1): RandomLayer {
  const normal = normalSource(seed);
  const fill = (length: number) => Float64Array.from({ length }, normal);
  const x = fill(n);
  const A = fill(r * n);
  const B = fill(m * r);
  const u = multiply(A, x, r);
  return { n, r, m, x, A, B, u, y: multiply(B, u, m) };
}

/** W·v, W: rows×v.length, row-major. */
export function multiply(W: Float64Array, v: Float64Array, rows: number): Float64Array {
  const out = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0; j < v.length; j++) sum += W[i * v.length + j] * v[j];
    out[i] = sum;
  }
  return out;
}

/** log2 of ‖got − expected‖ / ‖expected‖. */
export function relativeErrorBits(got: ArrayLike<number>, expected: Float64Array): number {
  if (got.length < expected.length) throw new RangeError("fewer results than expected");
  let error = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (got[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.log2(error / norm) / 2;
}

/** Standard normal numbers, the same for the same seed (Box–Muller over mulberry32; not for keys). */
export function normalSource(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
