/**
 * The worked layer of docs/protocol.md: every step of the protocol on one tiny layer, straight from the
 * page's equations with fixed "secrets", without the kernels. test/vectors/protocol-examples.test.ts checks that
 * the engine computes the same bytes.
 */
import { DEFAULT_PARAMETERS, HEADROOM, layoutOf, replyBits, uploadBits } from "../src/rlwe/parameters.ts";
import { publicElementBytes } from "../src/rlwe/public-elements.ts";
import { packTop, unpackTop } from "../test/oracle/packing.ts";
import { innerProduct, negacyclicProduct, transposedProduct } from "../test/oracle/ring.ts";

const p = DEFAULT_PARAMETERS;
const N = p.ringDegree;

export const BUNDLE_ID = Uint8Array.from({ length: 16 }, (_, i) => i);
export const GROUP = 0;
export const ROWS = 2;
export const IN_FEATURES = 4;
export const LAYOUT = layoutOf(p, IN_FEATURES);

/** W, (rows, n). */
export const WEIGHTS = Int16Array.of(1200, -700, 30, 1900, -2047, 5, 999, 0);
/** P, (rows, n_pad). */
export const PADDING = Int16Array.from({ length: ROWS * p.paddingLength }, (_, k) => {
  const [r, i] = [Math.floor(k / p.paddingLength), k % p.paddingLength];
  return ((37 * i + 101 * r) % 512) - 255;
});
/** s. */
export const SECRET = Int16Array.from({ length: N }, (_, j) => ((j + Math.floor(j / 3)) % 3) - 1);
export const ACTIVATION = Float32Array.of(1.5, -0.25, 0, 3);
export const SCALES = Float64Array.of(2 ** -10, 2 ** -9);
/** The least point of the grid that no row norm exceeds. */
export const NORM_BOUND = 2 ** (45 / 4);

/** E, row r. */
const hintError = (r: number, j: number) => ((j + 7 * r) % 5) - 2;
/** e. */
export const queryError = (i: number) => (i % 7) - 3;

/** All words of the public element of the one block, which carries data and padding. */
function element(): Uint32Array {
  const bytes = publicElementBytes({ bundleId: BUNDLE_ID, group: GROUP, kind: "data", block: 0 });
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Uint32Array.from({ length: N }, (_, i) => view.getUint32(4 * i, true));
}

const rowOf = (r: number): number[] => [
  ...WEIGHTS.subarray(r * IN_FEATURES, (r + 1) * IN_FEATURES),
  ...PADDING.subarray(r * p.paddingLength, (r + 1) * p.paddingLength),
];

export interface WorkedLayer {
  /** Packed, (rows, 6144). */
  readonly hint: Uint8Array;
  readonly scale: number;
  /** C·s + e, before x is added. */
  readonly mask: Uint32Array;
  readonly query: Uint8Array;
  /** [W | P]·v, complete. */
  readonly sums: readonly number[];
  readonly answer: Uint8Array;
  /** H·s. */
  readonly hintProducts: readonly number[];
  readonly u: readonly number[];
  readonly y: readonly number[];
}

export function computeWorkedLayer(): WorkedLayer {
  const a = element();
  const hints = Array.from({ length: ROWS }, (_, r) => {
    const words = transposedProduct(a, rowOf(r)).map((word, j) => word + hintError(r, j));
    return packTop(words, N, p.hintBits);
  });
  const hint = Uint8Array.from(hints.flatMap((row) => [...row]));

  const norm = Math.sqrt(ACTIVATION.reduce((sum, value) => sum + value * value, 0));
  const scale = 2 ** 31 / (HEADROOM * NORM_BOUND * norm);
  const mask = negacyclicProduct(a, SECRET)
    .slice(0, LAYOUT.words)
    .map((word, i) => word + queryError(i));
  const v = mask.map((word, i) => word + (i < IN_FEATURES ? roundToEven(scale * ACTIVATION[i]) : 0));
  const query = packTop(v, LAYOUT.words, uploadBits(p));

  const received = unpackTop(query, LAYOUT.words, uploadBits(p));
  const sums = hints.map((_, r) => innerProduct(rowOf(r), received));
  const bits = replyBits(p, IN_FEATURES);
  const answer = packTop(sums, ROWS, bits);

  const w = unpackTop(answer, ROWS, bits);
  const hintProducts = hints.map((row) => innerProduct(SECRET, unpackTop(row, N, p.hintBits)));
  const u = hintProducts.map((product, r) => (w[r] - product) | 0);
  const y = u.map((value, r) => Math.fround((SCALES[r] * value) / scale));
  return { hint, scale, mask, query, sums, answer, hintProducts, u, y };
}

/** Nearest integer, ties to even, for |value| < 2^31. */
function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? 1 : 0);
}
