/**
 * What comes before the data of a GGUF file: metadata, and where each tensor is. All little-endian.
 * Source: the specification of GGUF in the repository of ggml.
 *
 *   "GGUF", version u32 (2 or 3), tensors u64, entries of metadata u64
 *   entry:   key string, type u32, value       string: bytes u64, UTF-8       array: type u32, count u64, values
 *   tensor:  name string, dimensions u32, each of them u64 (the innermost first), kind u32, offset u64
 *   padding to general.alignment; there the data begins, and offsets count from there
 *
 * The file is untrusted: a count is held against the bytes that are left before anything is made of it.
 */

import { type TensorKind, kindOf } from "./tensor-kinds.ts";

export type GgufScalar = number | bigint | boolean | string;
export type GgufValue = GgufScalar | readonly GgufScalar[];

export interface GgufTensor {
  readonly name: string;
  readonly kind: TensorKind;
  /** Row-major as everywhere else here: the innermost last. */
  readonly shape: readonly number[];
  /** Of the first byte, from the start of the file. */
  readonly offset: number;
  /** Length in bytes. */
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** What is wrong with a file: the field, and a sentence. */
export class GgufFault extends Error {}
/** The header goes on behind the bytes that were given. */
export class MoreNeeded extends Error {}

const MAGIC = 0x46554747;
const DEFAULT_ALIGNMENT = 32;
/** ggml has at most four dimensions, and names of at most 64 bytes with the zero at their end; newer builds have longer ones. */
const MAX_DIMENSIONS = 4;
const MAX_NAME_BYTES = 255;
/** The specification. */
const MAX_KEY_BYTES = 65535;
/** Bytes of the least entry: a key of one byte, a type, a value of one byte. */
const LEAST_ENTRY = 8 + 1 + 4 + 1;
const LEAST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8;

const U32 = 4;
const STRING = 8;
const ARRAY = 9;
/** Types of values: bytes of each, by their numbers; 8 and 9 are strings and arrays. */
const VALUE_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];
const TYPE_NAMES = ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array"];

/**
 * @param bytes the beginning of the file
 * @param fileBytes how long all of it is
 * @throws MoreNeeded if the header does not end within `bytes`; GgufFault
 */
export function parseHeader(bytes: Uint8Array, fileBytes: number): GgufHeader {
  const reader = new Reader(bytes, fileBytes);
  if (reader.u32("the magic") !== MAGIC) throw new GgufFault("it does not begin with GGUF");
  const version = reader.u32("the version");
  // The upper half of a small big-endian number.
  if (version !== 0 && (version & 0xffff) === 0) throw new GgufFault("it is big-endian");
  if (version !== 2 && version !== 3) throw new GgufFault(`version ${version} is not one of 2 and 3`);
  const tensorCount = reader.count("the number of tensors", LEAST_TENSOR);
  const entryCount = reader.count("the number of metadata entries", LEAST_ENTRY);
  const metadata = readMetadata(reader, entryCount);
  const alignment = alignmentOf(metadata);
  const listed = readTensors(reader, tensorCount, alignment);
  const start = Math.ceil(reader.at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const tensor of listed) tensors.set(tensor.name, { ...tensor, offset: start + tensor.offset });
  checkLayout([...tensors.values()], start, alignment, fileBytes);
  return { version, metadata, tensors };
}

function readMetadata(reader: Reader, count: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = reader.string(`the key of metadata entry ${i}`, MAX_KEY_BYTES);
    const field = quoted(key);
    if (metadata.has(key)) throw new GgufFault(`${field} is there twice`);
    const type = reader.u32(`the type of ${field}`);
    metadata.set(key, type === ARRAY ? readArray(reader, field) : reader.value(type, field));
  }
  return metadata;
}

function readArray(reader: Reader, field: string): readonly GgufScalar[] {
  const type = reader.u32(`the type of the entries of ${field}`);
  if (type === ARRAY) throw new GgufFault(`${field} is an array of arrays`);
  if (VALUE_BYTES[type] === undefined) throw new GgufFault(`${field} has entries of unknown type ${type}`);
  const count = reader.count(`the length of ${field}`, VALUE_BYTES[type]);
  const values: GgufScalar[] = [];
  for (let i = 0; i < count; i++) values.push(reader.value(type, field));
  return values;
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>): number {
  const value = metadata.get("general.alignment") ?? DEFAULT_ALIGNMENT;
  const fits = typeof value === "number" && value >= 8 && value <= 1 << 20 && (value & (value - 1)) === 0;
  if (!fits) throw new GgufFault(`"general.alignment" must be a power of two from 8 on, is ${shown(value)}`);
  return value;
}

/** Offsets still from the start of the data. */
function readTensors(reader: Reader, count: number, alignment: number): GgufTensor[] {
  const tensors: GgufTensor[] = [];
  const seen = new Set<string>();
  for (let i = 0; i < count; i++) {
    const name = reader.string(`the name of tensor ${i}`, MAX_NAME_BYTES);
    const field = `tensor ${quoted(name)}`;
    if (seen.has(name)) throw new GgufFault(`${field} is there twice`);
    seen.add(name);
    const dimensions = reader.u32(`the number of dimensions of ${field}`);
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
      throw new GgufFault(`${field} has ${dimensions} dimensions, 1 to ${MAX_DIMENSIONS} are possible`);
    }
    const shape: number[] = [];
    let entries = 1;
    for (let d = 0; d < dimensions; d++) {
      const size = reader.size(`dimension ${d} of ${field}`);
      entries *= size;
      if (size === 0 || entries > Number.MAX_SAFE_INTEGER / 64) {
        throw new GgufFault(`${field} has an impossible size in dimension ${d}`);
      }
      shape.unshift(size);
    }
    const id = reader.u32(`the kind of ${field}`);
    const kind = kindOf(id);
    if (!kind) throw new GgufFault(`${field} is of unknown kind ${id}`);
    const width = shape[shape.length - 1];
    if (width % kind.entries !== 0) {
      throw new GgufFault(`${field} has rows of ${width} entries, no whole blocks of ${kind.name}`);
    }
    const offset = reader.size(`the offset of ${field}`);
    if (offset % alignment !== 0) {
      throw new GgufFault(`the offset of ${field}, ${offset}, is not a multiple of ${alignment}`);
    }
    tensors.push({ name, kind, shape, offset, bytes: (entries / kind.entries) * kind.bytes });
  }
  return tensors;
}

/** Tensors lie one behind the other, with nothing between them but padding. */
function checkLayout(tensors: GgufTensor[], start: number, alignment: number, fileBytes: number): void {
  tensors.sort((a, b) => a.offset - b.offset);
  let end = start;
  for (const { name, offset, bytes } of tensors) {
    const field = `tensor ${quoted(name)}`;
    if (offset + bytes > fileBytes) {
      throw new GgufFault(`${field} ends at byte ${offset + bytes}, the file has ${fileBytes}`);
    }
    if (offset < end) throw new GgufFault(`${field} overlaps the one before it`);
    if (offset - end >= alignment)
      throw new GgufFault(`there are ${offset - end} unused bytes before ${field}`);
    end = offset + bytes;
  }
  if (fileBytes - end >= alignment && tensors.length > 0) {
    throw new GgufFault(`${fileBytes - end} bytes follow the last tensor`);
  }
}

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #fileBytes: number;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });

  constructor(bytes: Uint8Array, fileBytes: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fileBytes = fileBytes;
  }

  u32(field: string): number {
    return this.#view.getUint32(this.#take(4, field), true);
  }

  /** A u64 that is a size or an offset. */
  size(field: string): number {
    const value = this.#view.getBigUint64(this.#take(8, field), true);
    if (value > Number.MAX_SAFE_INTEGER) throw new GgufFault(`${field}, ${value}, is too large`);
    return Number(value);
  }

  /** How many things follow, each of at least so many bytes. */
  count(field: string, leastBytes: number): number {
    const value = this.size(field);
    const most = Math.floor((this.#fileBytes - this.at) / leastBytes);
    if (value <= most) return value;
    throw new GgufFault(`${field} is ${value}, and the file has room for ${Math.max(0, most)} at most`);
  }

  string(field: string, mostBytes = Number.MAX_SAFE_INTEGER): string {
    const length = this.size(`the length of ${field}`);
    if (length > mostBytes)
      throw new GgufFault(`${field} has ${length} bytes, at most ${mostBytes} are possible`);
    const start = this.#take(length, field);
    try {
      return this.#decoder.decode(this.#bytes.subarray(start, start + length));
    } catch {
      throw new GgufFault(`${field} is not UTF-8 text`);
    }
  }

  value(type: number, field: string): GgufScalar {
    if (type === STRING) return this.string(field);
    const bytes = VALUE_BYTES[type];
    if (bytes === undefined || type === ARRAY) throw new GgufFault(`${field} is of unknown type ${type}`);
    const at = this.#take(bytes, field);
    const view = this.#view;
    switch (type) {
      case 0:
        return view.getUint8(at);
      case 1:
        return view.getInt8(at);
      case 2:
        return view.getUint16(at, true);
      case 3:
        return view.getInt16(at, true);
      case U32:
        return view.getUint32(at, true);
      case 5:
        return view.getInt32(at, true);
      case 6:
        return view.getFloat32(at, true);
      case 7: {
        const value = view.getUint8(at);
        if (value > 1) throw new GgufFault(`${field} is a ${TYPE_NAMES[7]} of value ${value}`);
        return value === 1;
      }
      case 10:
        return narrow(view.getBigUint64(at, true));
      case 11:
        return narrow(view.getBigInt64(at, true));
      default:
        return view.getFloat64(at, true);
    }
  }

  #take(bytes: number, field: string): number {
    const start = this.at;
    const end = start + bytes;
    if (end > this.#fileBytes) throw new GgufFault(`the file ends within ${field}`);
    if (end > this.#bytes.length) throw new MoreNeeded();
    this.at = end;
    return start;
  }
}

/** A bigint only where a number would not hold it. */
function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A name from the file, for messages: control characters escaped, cut to 120 characters. */
function quoted(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 117)}...` : name);
}

function shown(value: GgufValue): string {
  return Array.isArray(value) ? "an array" : String(value).slice(0, 40);
}
