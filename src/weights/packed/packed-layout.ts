/** How a packed module is laid out: what the shapes of its tensors say, held against the configuration. */

import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import { quoteName } from "../json-file.ts";
import { readTensorBytes, type TensorInfo } from "../safetensors.ts";
import type { PackedFormat } from "./packed-format.ts";
import type { PackedLayout } from "./packed-module.ts";

type PartName = "qweight" | "qzeros" | "scales" | "g_idx";
/** A module's tensors, as far as the file has them. */
export type Parts = Partial<Record<PartName, TensorInfo>>;
/** With all that a module needs. */
export type ModuleParts = Parts & Required<Omit<Parts, "g_idx">>;

/** What the shapes say, held against the configuration. */
export async function layoutOf(
  tree: FileTree,
  module: string,
  parts: Parts,
  { method, bits: usual, groupSize: usualGroup, zerosLessOne, symmetric, anyOrder }: PackedFormat,
): Promise<PackedLayout> {
  const { qweight, qzeros, scales, g_idx: order } = parts;
  if (qweight === undefined) {
    const stray = (scales ?? qzeros ?? order)!;
    throw new TacetError(
      "unsupported_model",
      `${stray.path}: tensor ${quoteName(stray.name)} belongs to no quantized module`,
      {
        hint: "files whose activations are scaled are not supported: take another quantized copy of the model",
      },
    );
  }
  for (const part of ["qzeros", "scales"] as const)
    if (!parts[part]) throw badTensor(qweight, `there is no ${quoteName(`${module}.${part}`)} for it`);
  for (const info of [qweight, qzeros!, ...(order ? [order] : [])]) {
    const axes = info === order ? 1 : 2;
    if (info.dtype !== "I32" || info.shape.length !== axes)
      throw badTensor(
        info,
        `it is ${info.dtype} [${info.shape}], I32 with ${axes === 1 ? "one axis" : "two axes"} is read`,
      );
  }
  const [groups, outFeatures] = scales!.shape;
  if (scales!.shape.length !== 2 || groups * outFeatures === 0)
    throw badTensor(scales!, `its shape is [${scales!.shape}], not (groups, outputs)`);
  const [lines, width] = qweight.shape;
  // Of GPTQ the words go down: as many inputs as g_idx has tell the bits, where modules differ.
  const inFeatures = method === "awq" ? lines : (order?.shape[0] ?? (lines * 32) / usual);
  const bits = method === "awq" ? usual : (32 * lines) / inFeatures;
  if (bits !== 4 && bits !== 8) {
    throw new TacetError(
      "unsupported_model",
      `${qweight.path}: tensor ${quoteName(qweight.name)} has ${bits} bits for an input`,
      {
        hint: "4 and 8 bits are read: take another quantized copy of the model",
      },
    );
  }
  const fields = 32 / bits;
  const words = outFeatures / fields;
  const wanted = method === "awq" ? [inFeatures, words] : [inFeatures / fields, outFeatures];
  if (width !== wanted[1] || lines !== wanted[0])
    throw badTensor(
      qweight,
      `its shape is [${qweight.shape}], with ${quoteName(scales!.name)} of [${scales!.shape}] it should be [${wanted}]`,
    );
  if (String(qzeros!.shape) !== String([groups, words]))
    throw badTensor(qzeros!, `its shape is [${qzeros!.shape}], it should be [${[groups, words]}]`);
  const groupSize = groupSizeOf(inFeatures, groups, usualGroup);
  if (groupSize === undefined)
    throw badTensor(
      scales!,
      `it has ${groups} groups for ${inFeatures} inputs, quantization_config.group_size is ${usualGroup ?? -1}`,
    );
  const layout = {
    method,
    bits,
    zerosLessOne,
    symmetric,
    outFeatures,
    inFeatures,
    groups,
    groupSize,
  } as const;
  if (order === undefined || !anyOrder) return layout;
  const groupOf = await readOrder(tree, order, groups);
  return isInOrder(groupOf, groupSize) ? layout : { ...layout, groupOf };
}

/** Sizes that quantizers have, where a module's is not that of the configuration. */
const USUAL_SIZES = [32, 64, 128, 256, 512, 1024, 16];

/** Inputs of a group; undefined: no size gives so many groups. */
function groupSizeOf(inFeatures: number, groups: number, usual: number | undefined): number | undefined {
  if (groups === 1) return inFeatures;
  const sizes = [...(usual === undefined ? [] : [usual]), ...USUAL_SIZES, inFeatures / groups];
  return sizes.find((size) => Number.isInteger(size) && Math.ceil(inFeatures / size) === groups);
}

export async function readOrder(tree: FileTree, info: TensorInfo, groups: number): Promise<Int32Array> {
  const order = new Int32Array(new Uint8Array(await readTensorBytes(tree, info)).buffer);
  const strange = order.find((group) => group < 0 || group >= groups);
  if (strange !== undefined) throw badTensor(info, `it names group ${strange} of ${groups}`);
  return order;
}

export function isInOrder(groupOf: Int32Array, groupSize: number): boolean {
  return groupOf.every((group, k) => group === Math.floor(k / groupSize));
}

export function badTensor({ path, name }: TensorInfo, what: string): TacetError {
  return new TacetError("bad_checkpoint", `${path}: tensor ${quoteName(name)}: ${what}`, {
    hint: "the file is damaged, or config.json is another file's: download both again",
  });
}
