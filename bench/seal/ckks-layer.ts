// The peer: a LoRA layer on a CKKS-encrypted activation, with rotations (the FHE way of arXiv 2501.01672).
import { multiply, type RandomLayer } from "../random-layer.ts";
import {
  type CkksTools,
  type DiagonalProduct,
  encodeDiagonals,
  fold,
  multiplyDiagonals,
  range,
  rotateBabies,
} from "./ckks-matvec.ts";
import { type CipherText, makeContext, type PlainText, type SEALLibrary } from "./load-seal.ts";
import type { SealLayer } from "./seal-layer.ts";

export interface CkksPlan {
  /** Provider computes B(Ax), or A·x with a public B′ (the trust split of our own layer). */
  readonly evaluates: "B(Ax)" | "Ax";
  readonly degree: number;
  /** Data primes, then SEAL's key-switching prime; their product stays within the 128-bit table. */
  readonly limbBits: readonly number[];
  readonly xScaleBits: number;
  readonly aScaleBits: number;
  readonly bScaleBits: number;
  readonly aBabies: number;
  readonly bBabies: number;
  /** Folds done before the rescale: each costs twice the later ones, and spares their noise. */
  readonly foldsBeforeRescale: number;
}

/**
 * N = 4096 holds both products in its 109 bits: x·A at 2^39 in 64 bits, rescaled by 22 to 2^17,
 * times B at 2^13.5 in 42 bits, which leaves |y| < 2^10.5, 8 standard deviations of this layer.
 */
export const FULL_PLAN: CkksPlan = {
  evaluates: "B(Ax)",
  degree: 4096,
  limbBits: [42, 22, 45],
  xScaleBits: 20,
  aScaleBits: 19,
  bScaleBits: 13.5,
  aBabies: 2,
  bBabies: 4,
  // 0, 1, 2 measured 2^-8.4, 2^-8.8, 2^-8.9: none is needed for the precision of our own layer.
  foldsBeforeRescale: 0,
};

/** One product fits one 54-bit limb: no rescale at all, and the cheapest rotations SEAL can do. */
export const PUBLIC_BASIS_PLAN: CkksPlan = {
  evaluates: "Ax",
  degree: 4096,
  limbBits: [54, 55],
  xScaleBits: 22,
  aScaleBits: 21,
  bScaleBits: 0,
  aBabies: 2,
  bBabies: 0,
  foldsBeforeRescale: 8,
};

export function makeCkksLayer(seal: SEALLibrary, layer: RandomLayer, plan: CkksPlan): SealLayer {
  const { n, r, m, A, B } = layer;
  const full = plan.evaluates === "B(Ax)";
  const made = makeContext(seal, "ckks", plan.degree, plan.limbBits);
  const { context, keyGenerator, encryptor, decryptor, evaluator } = made;
  const encoder = seal.CKKSEncoder(context);
  const slots = encoder.slotCount;
  const inputs = Math.ceil(n / slots);
  const outputs = full ? Math.ceil(m / slots) : 1;

  // Rotation amounts: babies, the giant step, and the folds r, 2r, … slots/2.
  const folds = range(Math.log2(slots / r)).map((k) => r << k);
  const babySteps = Math.max(plan.aBabies, plan.bBabies);
  const giantSteps = [plan.aBabies, ...(full && plan.bBabies < r ? [plan.bBabies] : [])];
  const steps = [...new Set([...range(babySteps - 1).map((b) => b + 1), ...giantSteps, ...folds])];
  const galoisKeys = keyGenerator.createGaloisKeys(Int32Array.from(steps));
  const keys = keyGenerator.createGaloisKeysSerializable(Int32Array.from(steps));
  const keyBytes = keys.saveArray(seal.ComprModeType.zstd).length;
  keys.delete();
  const tools: CkksTools = { seal, evaluator, encoder, galoisKeys, slots };

  // Slot j of the first product belongs to row j mod r; after the folds slot j holds u[j mod r].
  const aProduct = encodeDiagonals(
    tools,
    { diagonals: r, babies: plan.aBabies, inputs, scale: 2 ** plan.aScaleBits, levelsDown: 0 },
    (d, i, j) => (i * slots + ((j + d) % slots) < n ? A[(j % r) * n + i * slots + ((j + d) % slots)] : 0),
  );
  const bProducts: DiagonalProduct[] = range(full ? outputs : 0).map((o) =>
    encodeDiagonals(
      tools,
      { diagonals: r, babies: plan.bBabies, inputs: 1, scale: 2 ** plan.bScaleBits, levelsDown: 1 },
      (d, _, j) => (o * slots + j < m ? B[(o * slots + j) * r + ((j + d) % r)] : 0),
    ),
  );

  const ciphertexts = (count: number) => range(count).map(() => seal.CipherText());
  const aRotated = range(plan.aBabies - 1).map(() => ciphertexts(inputs));
  const bRotated = full ? range(plan.bBabies - 1).map(() => ciphertexts(1)) : [];
  const [u, term] = ciphertexts(2);
  const y = ciphertexts(full ? outputs : 0);
  const plain = seal.PlainText();
  const block = new Float64Array(slots);

  const aRotations = inputs * (plan.aBabies - 1) + r / plan.aBabies - 1 + folds.length;
  const bRotations = full ? plan.bBabies - 1 + outputs * (r / plan.bBabies - 1) : 0;
  return {
    name: full ? "CKKS with rotations, B(Ax) at the provider" : "CKKS with rotations, Ax only (B′ public)",
    parameters: `CKKS, N = ${plan.degree}, limbs ${plan.limbBits.join(" + ")} bits`,
    operations:
      `${aRotations + bRotations} rotations, ` +
      `${r * inputs + (full ? r * outputs : 0)} plaintext products, ${full ? 1 : 0} rescale`,
    keyBytes,
    encrypt(x) {
      return range(inputs).map((i) => {
        block.fill(0);
        block.set(x.subarray(i * slots, (i + 1) * slots));
        encoder.encode(block, 2 ** plan.xScaleBits, plain);
        return encryptor.encryptSymmetricSerializable(plain);
      });
    },
    evaluate(x) {
      multiplyDiagonals(tools, aProduct, rotateBabies(tools, x, aRotated), u, term);
      fold(tools, folds.slice(0, plan.foldsBeforeRescale), u, term);
      if (full) evaluator.rescaleToNext(u, u);
      fold(tools, folds.slice(plan.foldsBeforeRescale), u, term);
      if (!full) return [u];
      const rotated = rotateBabies(tools, [u], bRotated);
      bProducts.forEach((product, o) => {
        multiplyDiagonals(tools, product, rotated, y[o], term);
      });
      return y;
    },
    decrypt(replies) {
      const slotsOf = (reply: CipherText, into: PlainText) => {
        decryptor.decrypt(reply, into);
        return encoder.decode(into);
      };
      if (!full) return multiply(B, slotsOf(replies[0], plain).subarray(0, r), m);
      const out = new Float64Array(outputs * slots);
      replies.forEach((reply, o) => {
        out.set(slotsOf(reply, plain), o * slots);
      });
      return out.subarray(0, m);
    },
    receive(bytes, into) {
      bytes.forEach((message, i) => {
        into[i].loadArray(context, message);
      });
    },
  };
}
