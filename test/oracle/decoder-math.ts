/** The pieces of a decoder from their definitions, in float64, one token after another. A value is one row a token. */

export interface Weight {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: Float32Array;
}

export type Weights = ReadonlyMap<string, Weight>;

/** delta = scale·B·(A·x) */
export interface OracleLora {
  readonly rank: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly scale: number;
}

export type Rows = readonly Float64Array[];

export function tensorOf(weights: Weights, name: string): Weight {
  const weight = weights.get(name);
  if (!weight) throw new RangeError(`no tensor ${name}`);
  return weight;
}

/** Row `id` of a table for each id. */
export function lookUp({ shape, data }: Weight, ids: readonly number[]): Float64Array[] {
  return ids.map((id) => Float64Array.from(data.subarray(id * shape[1], (id + 1) * shape[1])));
}

export function add(x: Rows, y: Rows): Float64Array[] {
  return x.map((row, t) => row.map((value, i) => value + y[t][i]));
}

/** y = W·x + b + delta; W is (out, in), or (in, out) with `stored` "in-out". */
export function linear(
  weights: Weights,
  module: string,
  x: Rows,
  options: {
    readonly bias?: boolean;
    readonly stored?: "out-in" | "in-out";
    readonly lora?: OracleLora | undefined;
  } = {},
): Float64Array[] {
  const { shape, data } = tensorOf(weights, `${module}.weight`);
  const inOut = options.stored === "in-out";
  const [outFeatures, inFeatures] = inOut ? [shape[1], shape[0]] : shape;
  const bias = options.bias ? tensorOf(weights, `${module}.bias`).data : undefined;
  return x.map((row) => {
    const y = new Float64Array(outFeatures);
    for (let o = 0; o < outFeatures; o++) {
      y[o] = bias?.[o] ?? 0;
      for (let i = 0; i < inFeatures; i++)
        y[o] += data[inOut ? i * outFeatures + o : o * inFeatures + i] * row[i];
    }
    if (!options.lora) return y;
    const { rank, a, b, scale } = options.lora;
    for (let r = 0; r < rank; r++) {
      let inner = 0;
      for (let i = 0; i < inFeatures; i++) inner += a[r * inFeatures + i] * row[i];
      for (let o = 0; o < outFeatures; o++) y[o] += scale * b[o * rank + r] * inner;
    }
    return y;
  });
}

export function rmsNorm(x: Rows, { data }: Weight, epsilon: number): Float64Array[] {
  return x.map((row) => {
    const square = row.reduce((sum, value) => sum + value ** 2, 0) / row.length;
    return row.map((value, i) => (value / Math.sqrt(square + epsilon)) * data[i]);
  });
}

export function layerNorm(x: Rows, weight: Weight, bias: Weight, epsilon: number): Float64Array[] {
  return x.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map(
      (value, i) => ((value - mean) / Math.sqrt(variance + epsilon)) * weight.data[i] + bias.data[i],
    );
  });
}

/** softmax(scale·q·kᵀ)·v for each head, over the tokens up to each one. q: heads side by side; k, v: kvHeads. */
export function causalAttention(
  [q, k, v]: readonly [Rows, Rows, Rows],
  { heads, kvHeads, headDim, scale }: { heads: number; kvHeads: number; headDim: number; scale: number },
): Float64Array[] {
  return q.map((row, t) => {
    const out = new Float64Array(heads * headDim);
    for (let head = 0; head < heads; head++) {
      const from = Math.floor(head / (heads / kvHeads)) * headDim;
      const scores = k.slice(0, t + 1).map((key) => {
        let sum = 0;
        for (let i = 0; i < headDim; i++) sum += row[head * headDim + i] * key[from + i];
        return scale * sum;
      });
      const most = Math.max(...scores);
      const total = scores.reduce((sum, score) => sum + Math.exp(score - most), 0);
      for (const [s, score] of scores.entries()) {
        const part = Math.exp(score - most) / total;
        for (let i = 0; i < headDim; i++) out[head * headDim + i] += part * v[s][from + i];
      }
    }
    return out;
  });
}

export const silu = (x: number): number => x / (1 + Math.exp(-x));

/** erf by its series for small |x| and its continued fraction for large: to 1e-14. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 2.5) {
    let [term, sum] = [z, z];
    for (let n = 1; Math.abs(term) > 1e-18; n++) {
      term *= -(z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / (z + fraction) / Math.sqrt(Math.PI));
}
