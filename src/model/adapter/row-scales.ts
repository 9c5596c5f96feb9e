/**
 * DoRA: y = m/‖W + scale·B·A‖ ⊙ (W·x + scale·B·A·x), the norm of each output's row. m is trained, the norm follows from
 * the base's weights; the row scales s = m/‖…‖ are all that a forward pass needs of both.
 *
 * Source: PEFT `src/peft/tuners/lora/dora.py`; Liu et al., arXiv 2402.09353.
 */
import { TacetError } from "../../base/errors.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { quoteName } from "../../weights/json-file.ts";
import type { LoraModule } from "../../weights/lora-adapter.ts";
import { readTensorF32, type TensorInfo } from "../../weights/safetensors.ts";
import { type LinearPlace, weightsOf } from "../graph/linear-place.ts";

/** Entries of W that are read at a time. */
const CHUNK = 1 << 20;

/** s of each module with a magnitude. @throws TacetError bad_adapter for a row of zeros */
export async function rowScales(
  modules: ReadonlyMap<string, LoraModule>,
  magnitudes: ReadonlyMap<string, Float32Array>,
  placeOf: ReadonlyMap<string, LinearPlace>,
  checkpoint: Checkpoint,
): Promise<ReadonlyMap<string, Float32Array>> {
  const scales = new Map<string, Float32Array>();
  for (const [name, magnitude] of magnitudes) {
    const place = placeOf.get(name)!;
    const weight = checkpoint.tensor(weightsOf(place)[place.modules.indexOf(name)]);
    const norms = await rowNorms(modules.get(name)!, weight, place.storedInOut ?? false, checkpoint);
    const scale = magnitude.map((m, i) => m / norms[i]);
    if (!scale.every(Number.isFinite)) {
      throw new TacetError(
        "bad_adapter",
        `a row of ${quoteName(name)} with its difference is zero, and DoRA divides by its length`,
      );
    }
    scales.set(name, scale);
  }
  return scales;
}

/** ‖W + scale·B·A‖ of each output. */
async function rowNorms(
  { a, b, rank, scale, inFeatures, outFeatures }: LoraModule,
  weight: TensorInfo,
  storedInOut: boolean,
  { tree }: Checkpoint,
): Promise<Float64Array> {
  const squares = new Float64Array(outFeatures);
  // A chunk has whole lines: outputs, or with storedInOut inputs.
  const [lines, width] = storedInOut ? [inFeatures, outFeatures] : [outFeatures, inFeatures];
  const most = Math.max(1, Math.floor(CHUNK / width));
  const lineBytes = weight.bytes / lines;
  const difference = new Float64Array(width);
  for (let first = 0; first < lines; first += most) {
    const count = Math.min(most, lines - first);
    const bytes = { offset: weight.offset + first * lineBytes, bytes: count * lineBytes };
    const values = await readTensorF32(tree, { ...weight, ...bytes });
    for (let line = first; line < first + count; line++) {
      difference.fill(0);
      for (let k = 0; k < rank; k++) {
        // Row k of A against one output, or column k of B against one input.
        const factor = scale * (storedInOut ? a[k * inFeatures + line] : b[line * rank + k]);
        for (let i = 0; i < width; i++)
          difference[i] += factor * (storedInOut ? b[i * rank + k] : a[k * inFeatures + i]);
      }
      const at = (line - first) * width;
      for (let i = 0; i < width; i++) {
        const entry = values[at + i] + difference[i];
        squares[storedInOut ? i : line] += entry * entry;
      }
    }
  }
  return squares.map(Math.sqrt);
}
