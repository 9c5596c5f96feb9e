/**
 * Linear modules of GPTQ and AWQ checkpoints as tensors like any others: "q_proj.qweight", "q_proj.qzeros", "q_proj.scales"
 * and "q_proj.g_idx" become "q_proj.weight", (out, in) in F32, which is decoded where it is read, and gives its rows in our
 * own blocks.
 */

import type { FileTree } from "../../base/platform.ts";
import { TacetError } from "../../base/errors.ts";
import { quoteName } from "../json-file.ts";
import { readTensorBytes, readTensorF32, type TensorInfo } from "../safetensors.ts";
import type { PackedFormat } from "./packed-format.ts";
import { formOf, type PackedLayout, PackedModule } from "./packed-module.ts";

/** What a packed module's tensors are called. */
const PARTS = /^(.+)\.(qweight|qzeros|scales|g_idx)$/;
/** Of the paths that are decoded; no file of a checkpoint has a slash in its name. */
const PREFIX = "packed/";

type PartName = "qweight" | "qzeros" | "scales" | "g_idx";
type Parts = Partial<Record<PartName, TensorInfo>>;
type ModuleParts = Parts & Required<Omit<Parts, "g_idx">>;
/** By path. */
type Layouts = ReadonlyMap<string, { readonly layout: PackedLayout; readonly parts: ModuleParts }>;

export interface PackedTensors {
  /** The checkpoint's, and what is decoded. */
  readonly tree: FileTree;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
}

/**
 * @param tensors of the files
 * @throws TacetError bad_checkpoint naming file and tensor, unsupported_model
 */
export async function openPacked(
  tree: FileTree,
  tensors: ReadonlyMap<string, TensorInfo>,
  format: PackedFormat,
): Promise<PackedTensors> {
  const all = new Map<string, TensorInfo>();
  const modules = new Map<string, Parts>();
  for (const [name, info] of tensors) {
    const [, module, part] = PARTS.exec(name) ?? [];
    if (module === undefined) all.set(name, info);
    else modules.set(module, { ...modules.get(module), [part]: info });
  }
  const layouts = new Map<string, { readonly layout: PackedLayout; readonly parts: ModuleParts }>();
  const decoded = new DecodedModules(tree, layouts);
  for (const [module, parts] of modules) {
    const layout = await layoutOf(tree, module, parts, format);
    const name = `${module}.weight`;
    if (all.has(name)) throw bad(parts.qweight!, `there is also a tensor ${quoteName(name)}`);
    const path = PREFIX + module;
    layouts.set(path, { layout, parts: parts as ModuleParts });
    const { outFeatures, inFeatures } = layout;
    all.set(name, {
      ...{ name, path, dtype: "F32", shape: [outFeatures, inFeatures], offset: 0 },
      bytes: 4 * outFeatures * inFeatures,
      rounded: {
        form: formOf(layout),
        readRows: async (first, count) => (await decoded.open(path)).blocks(first, count),
      },
    });
  }
  return { tree: decoded.asTree(), tensors: all };
}

/** What the shapes say, held against the configuration. */
async function layoutOf(
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
    if (!parts[part]) throw bad(qweight, `there is no ${quoteName(`${module}.${part}`)} for it`);
  for (const info of [qweight, qzeros!, ...(order ? [order] : [])]) {
    const axes = info === order ? 1 : 2;
    if (info.dtype !== "I32" || info.shape.length !== axes)
      throw bad(
        info,
        `it is ${info.dtype} [${info.shape}], I32 with ${axes === 1 ? "one axis" : "two axes"} is read`,
      );
  }
  const [groups, outFeatures] = scales!.shape;
  if (scales!.shape.length !== 2 || groups * outFeatures === 0)
    throw bad(scales!, `its shape is [${scales!.shape}], not (groups, outputs)`);
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
    throw bad(
      qweight,
      `its shape is [${qweight.shape}], with ${quoteName(scales!.name)} of [${scales!.shape}] it should be [${wanted}]`,
    );
  if (String(qzeros!.shape) !== String([groups, words]))
    throw bad(qzeros!, `its shape is [${qzeros!.shape}], it should be [${[groups, words]}]`);
  const groupSize = groupSizeOf(inFeatures, groups, usualGroup);
  if (groupSize === undefined)
    throw bad(
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

async function readOrder(tree: FileTree, info: TensorInfo, groups: number): Promise<Int32Array> {
  const order = new Int32Array(new Uint8Array(await readTensorBytes(tree, info)).buffer);
  const strange = order.find((group) => group < 0 || group >= groups);
  if (strange !== undefined) throw bad(info, `it names group ${strange} of ${groups}`);
  return order;
}

function isInOrder(groupOf: Int32Array, groupSize: number): boolean {
  return groupOf.every((group, k) => group === Math.floor(k / groupSize));
}

/** Modules by the paths of their tensors; the last one is kept, since rows are asked for one after the other. */
class DecodedModules {
  readonly #tree: FileTree;
  readonly #layouts: Layouts;
  #last: { readonly path: string; readonly module: Promise<PackedModule> } | undefined;

  constructor(tree: FileTree, layouts: Layouts) {
    this.#tree = tree;
    this.#layouts = layouts;
  }

  open(path: string): Promise<PackedModule> {
    if (this.#last?.path !== path) this.#last = { path, module: this.#read(path) };
    return this.#last.module;
  }

  /** The tree with what is decoded as files in it. */
  asTree(): FileTree {
    const tree = this.#tree;
    const sizeOf = (path: string): number | undefined => {
      const { layout } = this.#layouts.get(path) ?? {};
      return layout && 4 * layout.outFeatures * layout.inFeatures;
    };
    return {
      label: tree.label,
      size: async (path) => sizeOf(path) ?? (await tree.size(path)),
      read: async (path, offset, length) => {
        if (!this.#layouts.has(path)) return await tree.read(path, offset, length);
        return await this.#bytes(path, offset, length);
      },
      list: () => tree.list(),
      nativePath: (path) => (this.#layouts.has(path) ? undefined : tree.nativePath(path)),
    };
  }

  async #bytes(path: string, offset: number, length: number): Promise<Uint8Array> {
    const { layout } = this.#layouts.get(path)!;
    const rowBytes = 4 * layout.inFeatures;
    const bytes = rowBytes * layout.outFeatures;
    if (offset + length > bytes) {
      const what = `${path} has ${bytes} bytes, ${length} at ${offset} were asked for`;
      throw new TacetError("io_failed", what);
    }
    const first = Math.floor(offset / rowBytes);
    const last = Math.ceil((offset + length) / rowBytes);
    const rows = (await this.open(path)).dequantize(first, last - first);
    const start = offset - first * rowBytes;
    return new Uint8Array(rows.buffer).slice(start, start + length);
  }

  async #read(path: string): Promise<PackedModule> {
    const { layout, parts } = this.#layouts.get(path)!;
    const words = async (info: TensorInfo) =>
      new Uint32Array(new Uint8Array(await readTensorBytes(this.#tree, info)).buffer);
    const { g_idx: order } = parts;
    if (order !== undefined && layout.groupOf === undefined) {
      const groupOf = await readOrder(this.#tree, order, layout.groups);
      if (!isInOrder(groupOf, layout.groupSize))
        throw bad(order, "its groups are not in order, and quantization_config.desc_act is false");
    }
    const tensors = {
      qweight: await words(parts.qweight),
      qzeros: await words(parts.qzeros),
      scales: await readTensorF32(this.#tree, parts.scales),
    };
    return new PackedModule(
      layout,
      tensors,
      `${parts.qweight.path}: module ${quoteName(path.slice(PREFIX.length))}`,
    );
  }
}

function bad({ path, name }: TensorInfo, what: string): TacetError {
  return new TacetError("bad_checkpoint", `${path}: tensor ${quoteName(name)}: ${what}`, {
    hint: "the file is damaged, or config.json is another file's: download both again",
  });
}
