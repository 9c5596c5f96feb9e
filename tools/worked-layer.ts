/**
 * The worked layer of docs/protocol.md: every step of the protocol on one tiny layer, straight from the
 * page's equations with fixed "secrets", without the kernels. test/vectors/protocol-examples.test.ts checks that
 * the engine computes the same bytes.
 */
import { DEFAULT_PARAMETERS, HEADROOM } from "../src/rlwe/parameters.ts";
import { packTop, unpackTop } from "../test/oracle/packing.ts";
import {
  encryptedRow,
  hiddenPart,
  hintRow,
  maskWithoutError,
  type RowSecrets,
  rowSecrets,
} from "../test/oracle/private-layer.ts";
import { innerProduct } from "../test/oracle/ring.ts";

const p = DEFAULT_PARAMETERS;
const N = p.ringDegree;

export const BUNDLE_ID = Uint8Array.from({ length: 16 }, (_, i) => i);
export const ROWS = 2;
export const IN_FEATURES = 4;

/** W, (rows, n). */
export const WEIGHTS = Int32Array.of(300_000, -200_000, 7_000, 100_000, -400_000, 1_000, 99_900, 0);
/** Of the key, from which S, E and E_H are drawn. */
export const SEED = Uint8Array.from({ length: 32 }, (_, i) => i);
/** s. */
export const SECRET = Int16Array.from({ length: N }, (_, j) => ((j + Math.floor(j / 3)) % 3) - 1);
export const ACTIVATION = Float32Array.of(1.5, -0.25, 0, 3);
export const SCALES = Float64Array.of(2 ** -18, 2 ** -17);

/** e. */
const queryError = (i: number) => (i % 7) - 3;

const rowsOf = <T>(make: (row: number) => T): T[] => Array.from({ length: ROWS }, (_, row) => make(row));
const joined = (rows: readonly Uint8Array[]) => Uint8Array.from(rows.flatMap((row) => [...row]));

export interface WorkedLayer {
  /** S, E and E_H of each row. */
  readonly secrets: readonly RowSecrets[];
  /** B, packed, (rows, ⌈n·27/8⌉). */
  readonly weights: Uint8Array;
  /** H, packed, (rows, 6144). */
  readonly hint: Uint8Array;
  readonly scale: number;
  /** x̂. */
  readonly activation: readonly number[];
  /** (a_0·s)[0..k) + e. */
  readonly mask: Uint32Array;
  /** y. */
  readonly hidden: Uint32Array;
  readonly query: Uint8Array;
  /** S·v, complete. */
  readonly sums: readonly number[];
  readonly answer: Uint8Array;
  /** B·x̂ + H·s. */
  readonly products: readonly number[];
  readonly u: readonly number[];
  readonly y: readonly number[];
}

export function computeWorkedLayer(): WorkedLayer {
  const { keyLength, uploadBits, replyBits, weightBits, hintBits } = p;
  const secrets = rowsOf((row) => rowSecrets(SEED, row, IN_FEATURES));
  const rowOfW = (row: number) => WEIGHTS.subarray(row * IN_FEATURES, (row + 1) * IN_FEATURES);
  const weights = secrets.map((of, row) =>
    packTop(encryptedRow(BUNDLE_ID, rowOfW(row), of), IN_FEATURES, weightBits),
  );
  const hints = secrets.map((of) => packTop(hintRow(BUNDLE_ID, of), N, hintBits));

  const norm = Math.sqrt(ACTIVATION.reduce((sum, value) => sum + value * value, 0));
  const scale = 2 ** 31 / (HEADROOM * p.rowNorm * norm);
  const activation = Array.from(ACTIVATION, (value) => roundToEven(scale * value));
  const mask = maskWithoutError(BUNDLE_ID, SECRET).map((word, i) => word + queryError(i));
  const hidden = hiddenPart(BUNDLE_ID, activation);
  const query = packTop(
    mask.map((word, i) => word + hidden[i]),
    keyLength,
    uploadBits,
  );

  const received = unpackTop(query, keyLength, uploadBits);
  const sums = secrets.map(({ secret }) => innerProduct(secret, received));
  const answer = packTop(sums, ROWS, replyBits);

  const products = rowsOf(
    (row) =>
      (innerProduct(activation, unpackTop(weights[row], IN_FEATURES, weightBits)) +
        innerProduct(SECRET, unpackTop(hints[row], N, hintBits))) >>>
      0,
  );
  const answered = unpackTop(answer, ROWS, replyBits);
  const u = products.map((product, row) => (product - answered[row]) | 0);
  const y = u.map((value, row) => Math.fround((SCALES[row] * value) / scale));
  return {
    secrets,
    weights: joined(weights),
    hint: joined(hints),
    scale,
    activation,
    mask,
    hidden,
    query,
    sums,
    answer,
    products,
    u,
    y,
  };
}

/** Nearest integer, ties to even, for |value| < 2^31. */
function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? 1 : 0);
}
