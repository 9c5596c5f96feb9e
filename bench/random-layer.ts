// A random LoRA layer and activation with the float answer: what every layer bench computes and is checked by.

/** A: r×n, B: m×r, row-major, all entries standard normal. */
export interface RandomLayer {
  readonly n: number;
  readonly r: number;
  readonly m: number;
  readonly A: Float64Array;
  readonly B: Float64Array;
  /** Activations with their exact y = B(A·x); errors are averaged over all of them. */
  readonly examples: readonly { readonly x: Float64Array; readonly y: Float64Array }[];
}

/** One activation gives only r independent errors: too few to compare two layers by. */
const EXAMPLES = 12;

export function randomLayer(n: number, r: number, m: number, seed = 1): RandomLayer {
  const normal = normalSource(seed);
  const fill = (length: number) => Float64Array.from({ length }, normal);
  const A = fill(r * n);
  const B = fill(m * r);
  const examples = Array.from({ length: EXAMPLES }, () => {
    const x = fill(n);
    return { x, y: multiply(B, multiply(A, x, r), m) };
  });
  return { n, r, m, A, B, examples };
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

/** log2 of √(Σ‖got − expected‖² / Σ‖expected‖²) over the layer's examples. */
export function layerErrorBits(layer: RandomLayer, compute: (x: Float64Array) => ArrayLike<number>): number {
  let error = 0;
  let norm = 0;
  for (const { x, y } of layer.examples) {
    const got = compute(x);
    y.forEach((expected, i) => {
      error += (got[i] - expected) ** 2;
      norm += expected ** 2;
    });
  }
  return Math.log2(error / norm) / 2;
}

/** The same for one pair. */
export function relativeErrorBits(got: ArrayLike<number>, expected: Float64Array): number {
  let error = 0;
  let norm = 0;
  expected.forEach((value, i) => {
    error += (got[i] - value) ** 2;
    norm += value ** 2;
  });
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
