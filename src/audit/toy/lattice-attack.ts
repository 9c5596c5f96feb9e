/**
 * Lattice reduction against small LWE instances: b = s·C + e mod q with short s and e, by Kannan's embedding.
 *
 *   rows (q·I | 0 | 0), (C | ω·I | 0), (b | 0 | K);   (e | −ω·s | K) is short,   ω = σ_e/σ_s, K = σ_e
 *
 * Sources: Kannan, "Minkowski's convex body theorem and integer programming", 1987; Bai, Galbraith, "Lattice decoding
 * attacks on binary LWE", 2014 (the scaling). LLL finds the vector while it is shorter than the lattice's others by
 * about 0.4·1.02^d (Gama, Nguyen, "Predicting lattice reduction", 2008).
 */
import { lllReduce } from "../lattice/lll.ts";

export interface SmallLwe {
  /** C, (dimension, samples). */
  readonly matrix: Uint32Array;
  readonly dimension: number;
  readonly samples: number;
  /** b, (samples). */
  readonly words: Uint32Array;
  readonly secretStddev: number;
  readonly errorStddev: number;
}

export interface LatticeAttackResult {
  /** s, or undefined if no vector of the reduced basis has the planted form. */
  readonly secret: Int32Array | undefined;
  /** Dimension of the lattice. */
  readonly lattice: number;
}

const MODULUS = 2 ** 32;

/** log2 of how much shorter than its lattice's other vectors the planted one is, and of what LLL needs. */
export function embeddingGap({ dimension, samples, secretStddev, errorStddev }: SmallLwe): {
  gap: number;
  needed: number;
} {
  const d = dimension + samples + 1;
  const scale = Math.log2(scaleOf(secretStddev, errorStddev));
  const volume = (32 * samples + scale * dimension + Math.log2(errorStddev)) / d;
  const shortest = volume + Math.log2(d / (2 * Math.PI * Math.E)) / 2;
  const planted = Math.log2(errorStddev) + Math.log2(d) / 2;
  return { gap: shortest - planted, needed: d * Math.log2(1.0219) + Math.log2(0.4) };
}

const scaleOf = (secretStddev: number, errorStddev: number) =>
  Math.max(1, Math.round(errorStddev / secretStddev));

/** Samples that are looked at for the best number. */
const MANY_SAMPLES = 1024;

/** By how many bits LLL succeeds, or fails, with the number of samples that serves it best. */
export function bestMargin(lwe: SmallLwe): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let samples = 1; samples <= MANY_SAMPLES; samples++) {
    const { gap, needed } = embeddingGap({ ...lwe, samples });
    best = Math.max(best, gap - needed);
  }
  return best;
}

/** Fewer samples make a smaller lattice: as many as leave this much room over what LLL needs, in bits. */
const ROOM_BITS = 1.5;

/** The instance with the fewest samples that LLL should break; as it is if it should break none. */
export function trimSamples(lwe: SmallLwe): SmallLwe {
  const { matrix, dimension, samples } = lwe;
  for (let m = dimension; m < samples; m++) {
    const trimmed = { ...lwe, samples: m };
    const { gap, needed } = embeddingGap(trimmed);
    if (gap < needed + ROOM_BITS) continue;
    const columns = matrix.filter((_, i) => i % samples < m);
    return { ...trimmed, matrix: columns, words: lwe.words.subarray(0, m) };
  }
  return lwe;
}

/** Reduces the embedding lattice. */
export function attackSmallLwe(lwe: SmallLwe): LatticeAttackResult {
  const { matrix, dimension, samples, words, secretStddev, errorStddev } = lwe;
  const d = dimension + samples + 1;
  const scale = scaleOf(secretStddev, errorStddev);
  const weight = Math.max(1, Math.round(errorStddev));
  const basis: Float64Array[] = [];
  const row = (fill: (values: Float64Array) => void): void => {
    const values = new Float64Array(d);
    fill(values);
    basis.push(values);
  };
  for (let j = 0; j < samples; j++) row((values) => (values[j] = MODULUS));
  for (let i = 0; i < dimension; i++) {
    row((values) => {
      for (let j = 0; j < samples; j++) values[j] = matrix[i * samples + j] | 0;
      values[samples + i] = scale;
    });
  }
  row((values) => {
    for (let j = 0; j < samples; j++) values[j] = words[j] | 0;
    values[d - 1] = weight;
  });
  lllReduce(basis);
  for (const values of basis) {
    if (Math.abs(values[d - 1]) !== weight) continue;
    const sign = -Math.sign(values[d - 1]);
    const secret = Int32Array.from({ length: dimension }, (_, i) => (sign * values[samples + i]) / scale);
    if (explains(lwe, secret)) return { secret, lattice: d };
  }
  return { secret: undefined, lattice: d };
}

/** Whether b − s·C is as small as the error. */
function explains({ matrix, dimension, samples, words, errorStddev }: SmallLwe, secret: Int32Array): boolean {
  let square = 0;
  for (let j = 0; j < samples; j++) {
    let sum = words[j] | 0;
    for (let i = 0; i < dimension; i++) sum = (sum - Math.imul(matrix[i * samples + j], secret[i])) | 0;
    square += sum * sum;
  }
  return Math.sqrt(square / samples) < 3 * errorStddev;
}
