/**
 * Safetensors files: 8 bytes with the little-endian length of the header, the header as JSON, the data.
 * Source: the format section of the safetensors README (huggingface/safetensors).
 *
 * A header is untrusted: its bytes, names, shapes and offsets are checked against the file's size before
 * anything is allocated, and the tensors must cover the data without a hole or an overlap.
 */

import { concatBytes, utf8 } from "../base/bytes.ts";
import { type ErrorCode, TacetError } from "../base/errors.ts";
import { widenF16 } from "../base/float16.ts";
import type { FileTree } from "../base/platform.ts";
import { decodeUtf8, isRecord, parseJsonRecord, quoteName, refuseLfsPointer } from "./json-file.ts";
import type { RoundedMatrix } from "./quantize-blocks.ts";

/** Bits of one element. Types below 8 bits are packed; a tensor of them must fill whole bytes. */
// biome-ignore format: a table
const DTYPE_BITS = {
  BOOL: 8, U8: 8, I8: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8,
  I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, I64: 64, U64: 64, F64: 64, C64: 64,
} as const;

export type Dtype = keyof typeof DTYPE_BITS;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  /** Row-major; [] is a scalar. */
  readonly shape: readonly number[];
  /** The file within its tree. */
  readonly path: string;
  /** Of the first byte, from the start of the file. */
  readonly offset: number;
  /** Length in bytes. */
  readonly bytes: number;
  /** Of a matrix that its file holds rounded: the other fields are those of its numbers, which the tree makes when it is read. */
  readonly rounded?: RoundedMatrix;
}

/** A tensor and the files it is in. */
export interface StoredTensor {
  readonly tree: FileTree;
  readonly info: TensorInfo;
}

export interface SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The header's `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Longest header in bytes, the limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;

/**
 * Reads and checks the header; no tensor is read.
 * @param code what a fault is reported as: the file may belong to a checkpoint, an adapter or a bundle
 * @throws TacetError `code` if the file is missing or does not keep to the format
 */
export async function openSafetensors(
  tree: FileTree,
  path: string,
  code: ErrorCode = "bad_checkpoint",
): Promise<SafetensorsFile> {
  const refuse = (what: string): never => {
    throw new TacetError(code, `${path}: ${what}`, {
      hint: "the file is damaged or incomplete: download it again",
    });
  };
  const size = await tree.size(path);
  if (size === undefined) return refuse("there is no such file");
  if (size < 8) return refuse(`${size} bytes are too short for a safetensors file`);

  const prefix = await tree.read(path, 0, 8);
  const words = new DataView(prefix.buffer, prefix.byteOffset, 8);
  // "version ", as a Git LFS pointer begins, would be a header of exabytes.
  if (prefix[0] === 0x76) refuseLfsPointer(await tree.read(path, 0, Math.min(size, 64)), path, code);
  const headerBytes = words.getUint32(0, true) + words.getUint32(4, true) * 2 ** 32;
  if (headerBytes > MAX_HEADER_BYTES)
    return refuse(`a header of ${headerBytes} bytes is over the limit of ${MAX_HEADER_BYTES}`);
  if (headerBytes > size - 8) return refuse(`the header claims ${headerBytes} bytes, the file has ${size}`);

  const bytes = await tree.read(path, 8, headerBytes);
  // The format wants the brace first; this also keeps out a byte order mark.
  if (bytes[0] !== 0x7b) return refuse("the header does not begin with {");
  const header = parseJsonRecord(decodeUtf8(bytes, `${path}: the header`, code), `${path}: the header`, code);

  const dataStart = 8 + headerBytes;
  const tensors = new Map<string, TensorInfo>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const info = checkEntry(name, entry, path, dataStart);
    if (typeof info === "string") return refuse(`tensor ${quoteName(name)}: ${info}`);
    tensors.set(name, info);
  }
  const fault = findGap([...tensors.values()], dataStart, size);
  if (fault !== undefined) return refuse(fault);
  return { path, tensors, metadata: checkMetadata(header.__metadata__, refuse) };
}

/** The tensor, or what is wrong with its entry. */
function checkEntry(name: string, entry: unknown, path: string, dataStart: number): TensorInfo | string {
  if (!isRecord(entry)) return "its entry is not an object";
  for (const key of Object.keys(entry)) {
    if (key !== "dtype" && key !== "shape" && key !== "data_offsets")
      return `unknown field ${quoteName(key)}`;
  }
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BITS, dtype))
    return `unknown dtype ${quoteName(String(dtype))}`;
  if (!Array.isArray(shape) || !shape.every(isCount)) return "its shape is not a list of counts";
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    return "its data_offsets are not two counts";

  let bits: number = DTYPE_BITS[dtype as Dtype];
  for (const dim of shape as number[]) {
    bits *= dim;
    if (bits > Number.MAX_SAFE_INTEGER) return "its shape is too large for any file";
  }
  if (bits % 8 !== 0) return "its elements do not fill whole bytes";
  const [begin, end] = offsets as [number, number];
  if (end - begin !== bits / 8)
    return `its shape needs ${bits / 8} bytes, its data_offsets span ${end - begin}`;
  return {
    name,
    dtype: dtype as Dtype,
    shape: shape as number[],
    path,
    offset: dataStart + begin,
    bytes: bits / 8,
  };
}

/** Where the tensors, laid end to end, fail to cover the data exactly; undefined if they do. */
function findGap(tensors: TensorInfo[], dataStart: number, size: number): string | undefined {
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  for (const { name, offset, bytes } of tensors) {
    if (offset + bytes > size)
      return `tensor ${quoteName(name)} ends at byte ${offset + bytes}, the file has ${size}`;
    if (offset < end) return `tensor ${quoteName(name)} overlaps the one before it`;
    if (offset > end) return `there are ${offset - end} unused bytes before tensor ${quoteName(name)}`;
    end = offset + bytes;
  }
  return end === size ? undefined : `${size - end} bytes follow the last tensor`;
}

function checkMetadata(value: unknown, refuse: (what: string) => never): Record<string, string> {
  if (value === undefined || value === null) return {};
  if (!isRecord(value)) return refuse("__metadata__ is not an object");
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string")
      return refuse(`__metadata__ has a value that is not text under ${quoteName(key)}`);
  }
  return value as Record<string, string>;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

/** The tensor's bytes as stored. */
export function readTensorBytes(tree: FileTree, info: TensorInfo): Promise<Uint8Array> {
  return tree.read(info.path, info.offset, info.bytes);
}

/**
 * The tensor's elements as float32, in a separate array: F32 as stored, F16 and BF16 widened exactly.
 * @throws TacetError `code` for another dtype
 */
export async function readTensorF32(
  tree: FileTree,
  info: TensorInfo,
  code: ErrorCode = "bad_checkpoint",
): Promise<Float32Array> {
  if (info.dtype !== "F32" && info.dtype !== "F16" && info.dtype !== "BF16") {
    throw new TacetError(code, `${info.path}: tensor ${quoteName(info.name)} is stored as ${info.dtype}`, {
      hint: "only F32, F16 and BF16 weights are supported: convert the file to one of them",
    });
  }
  return widenTensor(info.dtype, await readTensorBytes(tree, info));
}

/** A tensor's bytes as float32, in a separate array unless they are F32 in a buffer of their own. */
export function widenTensor(dtype: "F32" | "F16" | "BF16", bytes: Uint8Array): Float32Array {
  // Aligned, in a separate buffer: one more copy only where the bytes are a view of a larger buffer.
  const buffer = (bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes))
    .buffer as ArrayBuffer;
  if (dtype === "F32") return new Float32Array(buffer);
  const halves = new Uint16Array(buffer);
  return dtype === "BF16" ? widenBf16(halves) : widenF16(halves);
}

/** A BF16 word is the upper half of a float32. */
export function widenBf16(halves: Uint16Array): Float32Array {
  const words = new Uint32Array(halves.length);
  for (let i = 0; i < words.length; i++) words[i] = halves[i] << 16;
  return new Float32Array(words.buffer);
}

export interface TensorToEncode {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Row-major, little-endian. */
  readonly data: Uint8Array;
}

/**
 * A safetensors file with the tensors in the order given; the same arguments give the same bytes. The data
 * starts at a multiple of 8, so that it can be mapped.
 * @throws RangeError for a repeated or reserved name, or data that does not fit the shape
 */
export function encodeSafetensors(
  tensors: readonly TensorToEncode[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const specs = tensors.map(({ data, ...spec }) => ({ ...spec, bytes: data.length }));
  return concatBytes(encodeSafetensorsHeader(specs, metadata), ...tensors.map(({ data }) => data));
}

/**
 * What stands before the data, for files that are written piece by piece.
 * @param tensors with the length of their data in bytes
 * @throws RangeError as {@link encodeSafetensors}
 */
export function encodeSafetensorsHeader(
  tensors: readonly (Omit<TensorToEncode, "data"> & { readonly bytes: number })[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) header.set("__metadata__", metadata);
  let end = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const data_offsets = [end, (end += bytes)];
    const fault = checkEntry(name, { dtype, shape, data_offsets }, "", 0);
    if (typeof fault === "string") throw new RangeError(`tensor ${quoteName(name)}: ${fault}`);
    if (name === "__metadata__" || name === "__proto__" || header.has(name))
      throw new RangeError(`bad name ${quoteName(name)}`);
    header.set(name, { dtype, shape, data_offsets });
  }
  // Not JSON.stringify of an object: that would move names that look like integers to the front.
  const fields = [...header].map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  let json = utf8(`{${fields.join(",")}}`);
  json = concatBytes(json, new Uint8Array(-json.length & 7).fill(0x20));
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setUint32(0, json.length, true);
  return concatBytes(prefix, json);
}
