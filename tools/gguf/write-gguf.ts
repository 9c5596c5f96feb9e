/** Writes GGUF files, version 3, little-endian: header, metadata, the list of tensors, then their data, aligned. */
import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { BLOCKS, type BlockName, encodeBlocks } from "./blocks.ts";

/** Of metadata values, as the format numbers them. */
const VALUE_TYPES = {
  uint8: 0,
  int8: 1,
  uint16: 2,
  int16: 3,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
  float64: 12,
} as const;

type Item = Exclude<keyof typeof VALUE_TYPES, "array">;

/** `["uint32", 24]`, or `["string[]", ["a", "b"]]`. */
export type GgufValue =
  | readonly [type: Item, value: number | boolean | string]
  | readonly [type: `${Item}[]`, values: readonly (number | boolean | string)[]];

export interface GgufTensor {
  readonly name: string;
  /** Rows first, as safetensors have it, [out, in]; the file lists them the other way round. */
  readonly shape: readonly number[];
  readonly type: BlockName;
  /** The entries in order, in pieces that are whole blocks. */
  readonly values: () => Iterable<Float32Array>;
}

export interface GgufFile {
  /** Without general.alignment. */
  readonly metadata: Readonly<Record<string, GgufValue>>;
  readonly tensors: readonly GgufTensor[];
}

/** The format's default. */
const ALIGNMENT = 32;

/** Writes `path`, which appears when it is complete. */
export function writeGguf(path: string, file: GgufFile): void {
  const partial = `${path}.partial`;
  const descriptor = openSync(partial, "w");
  try {
    for (const chunk of ggufChunks(file)) writeAll(descriptor, chunk);
    closeSync(descriptor);
    renameSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}

/** The file's bytes in memory: for small ones. */
export function ggufBytes(file: GgufFile): Uint8Array {
  return Buffer.concat([...ggufChunks(file)]);
}

/** The file's bytes in order. @throws RangeError where a tensor's entries are not as many as its shape says */
export function* ggufChunks({ metadata, tensors }: GgufFile): Generator<Uint8Array> {
  const head: Buffer[] = [Buffer.from("GGUF"), uint32(3), uint64(tensors.length)];
  head.push(uint64(Object.keys(metadata).length));
  for (const [key, value] of Object.entries(metadata)) head.push(string(key), encodeValue(value));
  let end = 0;
  for (const { name, shape, type } of tensors) {
    head.push(string(name), uint32(shape.length), ...shape.toReversed().map(uint64));
    head.push(uint32(BLOCKS[type].id), uint64(end));
    end += aligned(bytesOf(shape, type));
  }
  yield* padded(Buffer.concat(head));
  for (const { name, shape, type, values } of tensors) {
    let written = 0;
    for (const piece of values()) {
      const bytes = encodeBlocks(piece, type);
      written += bytes.length;
      yield bytes;
    }
    if (written !== bytesOf(shape, type))
      throw new RangeError(`${name}: ${written} bytes, but its shape takes ${bytesOf(shape, type)}`);
    yield Buffer.alloc(aligned(written) - written);
  }
}

/** @throws RangeError where rows are not whole blocks */
function bytesOf(shape: readonly number[], type: BlockName): number {
  const { values, bytes } = BLOCKS[type];
  if (shape[shape.length - 1] % values !== 0)
    throw new RangeError(`rows of ${shape[shape.length - 1]} entries are not whole blocks of ${type}`);
  return (shape.reduce((product, dim) => product * dim, 1) / values) * bytes;
}

const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

function* padded(bytes: Buffer): Generator<Uint8Array> {
  yield bytes;
  yield Buffer.alloc(aligned(bytes.length) - bytes.length);
}

function encodeValue([type, value]: GgufValue): Buffer {
  if (!Array.isArray(value)) {
    const item = type as Item;
    return Buffer.concat([uint32(VALUE_TYPES[item]), encodeItem(item, value as number | boolean | string)]);
  }
  const item = type.slice(0, -2) as Item;
  const head = [uint32(VALUE_TYPES.array), uint32(VALUE_TYPES[item]), uint64(value.length)];
  return Buffer.concat([...head, ...value.map((each) => encodeItem(item, each))]);
}

function encodeItem(type: Item, value: number | boolean | string): Buffer {
  if (type === "string") return string(String(value));
  const bytes = Buffer.alloc(8);
  const n = Number(value);
  const length = {
    uint8: () => bytes.writeUInt8(n),
    int8: () => bytes.writeInt8(n),
    bool: () => bytes.writeUInt8(n),
    uint16: () => bytes.writeUInt16LE(n),
    int16: () => bytes.writeInt16LE(n),
    uint32: () => bytes.writeUInt32LE(n),
    int32: () => bytes.writeInt32LE(n),
    float32: () => bytes.writeFloatLE(n),
    uint64: () => bytes.writeBigUInt64LE(BigInt(n)),
    int64: () => bytes.writeBigInt64LE(BigInt(n)),
    float64: () => bytes.writeDoubleLE(n),
  }[type]();
  return bytes.subarray(0, length);
}

const uint32 = (value: number) => encodeItem("uint32", value);
const uint64 = (value: number) => encodeItem("uint64", value);

/** Length in bytes, then UTF-8 without a terminator. */
function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint64(bytes.length), bytes]);
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}
