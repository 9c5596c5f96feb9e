/**
 * Linear modules of GPTQ and AWQ checkpoints as tensors like any others: "q_proj.qweight", "q_proj.qzeros", "q_proj.scales"
 * and "q_proj.g_idx" become "q_proj.weight", (out, in) in F32, which is decoded where it is read, and gives its rows in our
 * own blocks.
 */

import type { FileTree } from "../../base/platform.ts";
import { quoteName } from "../json-file.ts";
import { readTensorBytes, readTensorF32, type TensorInfo } from "../safetensors.ts";
import { DECODED_PREFIX, type DecodedFile, treeWithDecoded } from "./decoded-files.ts";
import type { PackedFormat } from "./packed-format.ts";
import { badTensor, isInOrder, layoutOf, type ModuleParts, type Parts, readOrder } from "./packed-layout.ts";
import { formOf, type PackedLayout, PackedModule } from "./packed-module.ts";

/** What a packed module's tensors are called. */
const PARTS = /^(.+)\.(qweight|qzeros|scales|g_idx)$/;

/** By path. */
type Layouts = ReadonlyMap<string, { readonly layout: PackedLayout; readonly parts: ModuleParts }>;

export interface DecodedTensors {
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
): Promise<DecodedTensors> {
  const all = new Map<string, TensorInfo>();
  const modules = new Map<string, Parts>();
  for (const [name, info] of tensors) {
    const [, module, part] = PARTS.exec(name) ?? [];
    if (module === undefined) all.set(name, info);
    else modules.set(module, { ...modules.get(module), [part]: info });
  }
  const layouts = new Map<string, { readonly layout: PackedLayout; readonly parts: ModuleParts }>();
  const decoded = new DecodedModules(tree, layouts);
  const files = new Map<string, DecodedFile>();
  for (const [module, parts] of modules) {
    const layout = await layoutOf(tree, module, parts, format);
    const name = `${module}.weight`;
    if (all.has(name)) throw badTensor(parts.qweight!, `there is also a tensor ${quoteName(name)}`);
    const path = DECODED_PREFIX + module;
    layouts.set(path, { layout, parts: parts as ModuleParts });
    files.set(path, decoded.file(path));
    const { outFeatures, inFeatures } = layout;
    all.set(name, {
      ...{ name, path, dtype: "F32", shape: [outFeatures, inFeatures], offset: 0 },
      bytes: 4 * outFeatures * inFeatures,
      rounded: {
        form: formOf(layout),
        readRows: (first, count) => decoded.rows(path, first, count, (module) => module.blocks(first, count)),
      },
    });
  }
  return { tree: treeWithDecoded(tree, files), tensors: all };
}

/** Modules by the paths of their tensors; one is kept until its last row, since rows are asked for one after the other. */
class DecodedModules {
  readonly #tree: FileTree;
  readonly #layouts: Layouts;
  #last: { readonly path: string; readonly module: Promise<PackedModule> } | undefined;

  constructor(tree: FileTree, layouts: Layouts) {
    this.#tree = tree;
    this.#layouts = layouts;
  }

  /** What `decode` makes of rows [first, first + count) of a module. */
  async rows<T>(path: string, first: number, count: number, decode: (module: PackedModule) => T): Promise<T> {
    if (this.#last?.path !== path) this.#last = { path, module: this.#read(path) };
    const opened = this.#last;
    const isLast = first + count === this.#layouts.get(path)!.layout.outFeatures;
    try {
      return decode(await opened.module);
    } finally {
      if (isLast && this.#last === opened) this.#last = undefined;
    }
  }

  /** A module's numbers, F32 (out, in) row-major. */
  file(path: string): DecodedFile {
    const { inFeatures, outFeatures } = this.#layouts.get(path)!.layout;
    const rowBytes = 4 * inFeatures;
    return {
      bytes: rowBytes * outFeatures,
      read: async (offset, length) => {
        const first = Math.floor(offset / rowBytes);
        const count = Math.ceil((offset + length) / rowBytes) - first;
        const rows = await this.rows(path, first, count, (module) => module.dequantize(first, count));
        const start = offset - first * rowBytes;
        return new Uint8Array(rows.buffer).slice(start, start + length);
      },
    };
  }

  async #read(path: string): Promise<PackedModule> {
    const { layout, parts } = this.#layouts.get(path)!;
    const words = async (info: TensorInfo) =>
      new Uint32Array(new Uint8Array(await readTensorBytes(this.#tree, info)).buffer);
    const { g_idx: order } = parts;
    if (order !== undefined && layout.groupOf === undefined) {
      const groupOf = await readOrder(this.#tree, order, layout.groups);
      if (!isInOrder(groupOf, layout.groupSize))
        throw badTensor(order, "its groups are not in order, and quantization_config.desc_act is false");
    }
    const tensors = {
      qweight: await words(parts.qweight),
      qzeros: await words(parts.qzeros),
      scales: await readTensorF32(this.#tree, parts.scales),
    };
    return new PackedModule(
      layout,
      tensors,
      `${parts.qweight.path}: module ${quoteName(path.slice(DECODED_PREFIX.length))}`,
    );
  }
}
