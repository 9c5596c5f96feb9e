/** What PEFT saves of the base model beside an adapter (`base_layer`, saved embeddings): it must be what the base has. */
import { TacetError } from "../../base/errors.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { quoteName } from "../../weights/json-file.ts";
import { readTensorF32, type StoredTensor, type TensorInfo } from "../../weights/safetensors.ts";
import { type LinearPlace, weightsOf } from "../graph/linear-place.ts";

/** Entries that are compared at a time. */
const CHUNK = 1 << 20;
/** One part in so many is the last bit of a type. A copy may have been rounded to its type and back. */
const LAST_BIT = { F32: 2 ** -22, F16: 2 ** -10, BF16: 2 ** -7 } as const;

/** @throws TacetError bad_adapter if one has another shape or other values than the base's tensor of that name */
export async function compareCopies(
  copies: ReadonlyMap<string, StoredTensor>,
  placeOf: ReadonlyMap<string, LinearPlace>,
  checkpoint: Checkpoint,
): Promise<void> {
  for (const [name, copy] of copies) {
    const base = baseTensor(name, placeOf, checkpoint);
    if (!base || base.shape.join() !== copy.info.shape.join()) {
      const what = base ? `[${base.shape}]` : "no such tensor";
      throw differs(name, `the adapter's has shape [${copy.info.shape}], the base model has ${what}`);
    }
    await compare(name, copy, base, checkpoint);
  }
}

function baseTensor(
  name: string,
  placeOf: ReadonlyMap<string, LinearPlace>,
  checkpoint: Checkpoint,
): TensorInfo | undefined {
  const module = name.replace(/\.weight$/, "");
  const place = placeOf.get(module);
  // A head that is tied to the embedding has its tensor.
  const stored = place ? weightsOf(place)[place.modules.indexOf(module)] : name;
  return checkpoint.has(stored) ? checkpoint.tensor(stored) : undefined;
}

async function compare(
  name: string,
  copy: StoredTensor,
  base: TensorInfo,
  { tree }: Checkpoint,
): Promise<void> {
  const count = base.shape.reduce((product, axis) => product * axis, 1);
  for (let first = 0; first < count; first += CHUNK) {
    const entries = Math.min(CHUNK, count - first);
    const [ours, theirs] = await Promise.all([
      readTensorF32(tree, part(base, first, entries, count)),
      readTensorF32(copy.tree, part(copy.info, first, entries, count), "unsupported_adapter"),
    ]);
    const tolerance = Math.max(lastBit(base), lastBit(copy.info));
    for (let i = 0; i < entries; i++) {
      if (Math.abs(ours[i] - theirs[i]) <= tolerance * Math.abs(ours[i]) + Number.MIN_VALUE) continue;
      throw differs(name, "its values are not the base model's");
    }
  }
}

function part(info: TensorInfo, first: number, entries: number, count: number): TensorInfo {
  const width = info.bytes / count;
  return { ...info, offset: info.offset + first * width, bytes: entries * width };
}

function lastBit({ dtype }: TensorInfo): number {
  return LAST_BIT[dtype as keyof typeof LAST_BIT] ?? 0;
}

function differs(name: string, what: string): TacetError {
  return new TacetError(
    "bad_adapter",
    `the adapter brings a copy of the base model's ${quoteName(name)}, which differs: ${what}`,
    {
      hint:
        "it was trained on another base model, or on one whose vocabulary was changed: give that one as the base; " +
        "a whole module that was trained stands in modules_to_save",
    },
  );
}
