/**
 * gpt-oss's experts as it is published, in MXFP4, as tensors like any others: "experts.gate_up_proj_blocks" and
 * "experts.gate_up_proj_scales" become "experts.gate_up_proj", (experts, in, out) in F32, which is decoded where it is
 * read, and gives its rows in our own blocks.
 *
 *   w[e][k][n] = E2M1[code]·2^(scale − 127),  code of the 4 bits of input k in blocks[e][n][⌊k/32⌋],  scale in scales[e][n][⌊k/32⌋]
 *
 * Of two codes in a byte the lower half is the first. All numbers are those of transformers, `integrations/mxfp4.py`
 * (convert_moe_packed_tensors); the format is that of the OCP Microscaling Formats specification 1.0, section 5.
 */

import { bytesOf } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import { isRecord, type JsonRecord, quoteName } from "../json-file.ts";
import { halfScale, MAX_SCALE, TWICE_E2M1 } from "../mxfp4-numbers.ts";
import type { BlockForm, QuantizedBlocks } from "../quantize-blocks.ts";
import { readTensorBytes, type TensorInfo } from "../safetensors.ts";
import { SliceReader } from "../slice-reader.ts";
import { DECODED_PREFIX, type DecodedFile, treeWithDecoded } from "./decoded-files.ts";
import type { DecodedTensors } from "./packed-checkpoint.ts";
import { badTensor } from "./packed-layout.ts";

/** Inputs that share a scale. */
const BLOCK = 32;
/** Bytes of a block's codes. */
const CODE_BYTES = BLOCK / 2;
/** 8 bits hold twice a number exactly. No 4 do: the numbers are not evenly spaced. */
const FORM: BlockForm = { bits: 8, block: BLOCK };

const PARTS = /^(.+)_(blocks|scales)$/;

/**
 * "MXFP4", if config.json says that.
 * @throws TacetError unsupported_model for another family than gpt-oss
 */
export function mxfp4Name({
  quantization_config: field,
  model_type: family,
}: JsonRecord): string | undefined {
  if (!isRecord(field) || field.quant_method !== "mxfp4") return undefined;
  if (family === "gpt_oss") return "MXFP4";
  const said = JSON.stringify(family ?? null).slice(0, 80);
  throw new TacetError(
    "unsupported_model",
    `config.json: quantization_config.quant_method = "mxfp4" is not supported with model_type = ${said}: of gpt_oss it is`,
    { hint: "give the model that it was made from, which --weights int4 rounds at load" },
  );
}

/**
 * Which tensors are packed is told by their names: `modules_to_not_convert` says it once more.
 *
 * @param tensors of the files
 * @throws TacetError bad_checkpoint naming file and tensor
 */
export async function openMxfp4(
  tree: FileTree,
  tensors: ReadonlyMap<string, TensorInfo>,
): Promise<DecodedTensors> {
  const all = new Map<string, TensorInfo>();
  const files = new Map<string, DecodedFile>();
  const slices = new SliceReader();
  for (const [tensor, info] of tensors) {
    const [, name, part] = PARTS.exec(tensor) ?? [];
    if (name === undefined) {
      all.set(tensor, info);
      continue;
    }
    const other = part === "blocks" ? "scales" : "blocks";
    const partner = tensors.get(`${name}_${other}`);
    if (!partner) throw badTensor(info, `there is no ${quoteName(`${name}_${other}`)} for it`);
    if (part === "scales") continue;
    if (tensors.has(name)) throw badTensor(info, `there is also a tensor ${quoteName(name)}`);
    checkShapes(info, partner);
    const stored = new Mxfp4Tensor(tree, info, partner, slices);
    const path = DECODED_PREFIX + name;
    files.set(path, stored);
    all.set(name, {
      ...{ name, path, dtype: "F32", shape: stored.shape, offset: 0, bytes: stored.bytes },
      rounded: {
        form: FORM,
        storedInOut: true,
        readRows: (first, count) => stored.readRows(first, count),
      },
    });
  }
  return { tree: treeWithDecoded(tree, files), tensors: all };
}

function checkShapes(blocks: TensorInfo, scales: TensorInfo): void {
  for (const info of [blocks, scales])
    if (info.dtype !== "U8") throw badTensor(info, `it is stored as ${info.dtype}, U8 is read`);
  const { shape } = blocks;
  if (shape.length !== 4 || shape[3] !== CODE_BYTES || shape.includes(0)) {
    throw badTensor(
      blocks,
      `its shape is [${shape}], not (experts, outputs, inputs/${BLOCK}, ${CODE_BYTES})`,
    );
  }
  if (String(scales.shape) !== String(shape.slice(0, 3))) {
    throw badTensor(
      scales,
      `its shape is [${scales.shape}], that of ${quoteName(blocks.name)} is [${shape}]`,
    );
  }
}

/** The products of all experts, of which a row belongs to one output. */
class Mxfp4Tensor implements DecodedFile {
  /** (experts, in, out), as transformers has it. */
  readonly shape: readonly [number, number, number];
  readonly bytes: number;
  readonly #tree: FileTree;
  readonly #blocks: TensorInfo;
  readonly #scales: TensorInfo;
  /** Blocks of a row. */
  readonly #perRow: number;
  readonly #slices: SliceReader;

  constructor(tree: FileTree, blocks: TensorInfo, scales: TensorInfo, slices: SliceReader) {
    this.#slices = slices;
    const [experts, outFeatures, perRow] = blocks.shape;
    this.#tree = tree;
    this.#blocks = blocks;
    this.#scales = scales;
    this.#perRow = perRow;
    this.shape = [experts, perRow * BLOCK, outFeatures];
    this.bytes = 4 * experts * perRow * BLOCK * outFeatures;
  }

  /** Rows [first, first + count), (experts·out, in), exactly. @throws TacetError bad_checkpoint */
  async readRows(first: number, count: number): Promise<QuantizedBlocks> {
    const { codes: packed, scales: exponents } = await this.#readPacked(first, count);
    const codes = new Uint8Array(2 * packed.length);
    for (let i = 0; i < packed.length; i++) {
      codes[2 * i] = 128 + TWICE_E2M1[packed[i] & 15];
      codes[2 * i + 1] = 128 + TWICE_E2M1[packed[i] >> 4];
    }
    return { codes, scales: Float32Array.from(exponents, halfScale) };
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const [, inFeatures, outFeatures] = this.shape;
    const range = { offset, length, sliceBytes: 4 * inFeatures * outFeatures };
    return await this.#slices.read(this, range, async (expert) => bytesOf(await this.#decode(expert)));
  }

  /** (in, out) */
  async #decode(expert: number): Promise<Float32Array> {
    const [, inFeatures, outFeatures] = this.shape;
    const { codes, scales } = await this.readRows(expert * outFeatures, outFeatures);
    const numbers = new Float32Array(inFeatures * outFeatures);
    for (let n = 0, i = 0; n < outFeatures; n++) {
      for (let k = 0; k < inFeatures; k++, i++)
        numbers[k * outFeatures + n] = scales[Math.floor(i / BLOCK)] * (codes[i] - 128);
    }
    return numbers;
  }

  async #readPacked(first: number, count: number): Promise<{ codes: Uint8Array; scales: Uint8Array }> {
    const part = (info: TensorInfo, rowBytes: number): Promise<Uint8Array> =>
      readTensorBytes(this.#tree, {
        ...info,
        offset: info.offset + first * rowBytes,
        bytes: count * rowBytes,
      });
    const codes = await part(this.#blocks, this.#perRow * CODE_BYTES);
    const scales = await part(this.#scales, this.#perRow);
    const strange = scales.find((scale) => scale > MAX_SCALE);
    if (strange !== undefined) {
      const meaning = strange === 255 ? "which stands for no number" : `2^${strange - 127}`;
      throw badTensor(this.#scales, `it has the scale ${strange}, ${meaning}; up to ${MAX_SCALE} are read`);
    }
    return { codes, scales };
  }
}
