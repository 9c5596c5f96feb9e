/**
 * A strict reader for frames (docs/protocol.md, section "Frames"). Protobuf lets a sender repeat fields, merge messages
 * and pad numbers, and a general decoder pays for all of that: many seconds for one message of 64 MiB. Here a frame has
 * one encoding but for the order of its fields (lists are short). Reading takes constant work for each byte and copies nothing but text:
 * bytes fields are views of the message.
 *
 * What may be read comes from the descriptors of proto/tacet/v1: a message that is added there is read here.
 */
import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";

/** Why bytes are not a frame: names a field, and never quotes what it holds. */
export class BadFrame extends Error {}

interface FieldShape {
  readonly name: string;
  /** Property of the message that is read. */
  readonly property: string;
  /** 2^number: stands for the field in a set of fields. */
  readonly bit: number;
  readonly wireType: WireType;
  readonly scalar: ScalarType | undefined;
  /** undefined: the field is a scalar. */
  readonly message: MessageShape | undefined;
  /** Whether it may stand several times. */
  readonly isList: boolean;
}

interface MessageShape {
  readonly name: string;
  /** By number. */
  readonly fields: ReadonlyMap<number, FieldShape>;
  /** The message without any field set. */
  readonly empty: Readonly<Record<string, unknown>>;
}

/** A message that was read, as protobuf-es represents it. */
type ReadMessage = Record<string, unknown>;

const WIRE_TYPES = new Map<ScalarType | undefined, WireType>([
  [undefined, WireType.LengthDelimited],
  [ScalarType.UINT32, WireType.Varint],
  [ScalarType.UINT64, WireType.Varint],
  [ScalarType.BOOL, WireType.Varint],
  [ScalarType.STRING, WireType.LengthDelimited],
  [ScalarType.BYTES, WireType.LengthDelimited],
]);

/** Elements of a list. */
export const MOST_ELEMENTS = 32;
/** The fields that were seen are the bits of a number. */
const LARGEST_NUMBER = 30;
/** Refuses what is not UTF-8, as proto3 demands. */
const text = new TextDecoder("utf-8", { fatal: true });

/**
 * Makes the reader of a frame: one oneof whose members are messages. It returns the member's name and the message.
 *
 * @returns a function that throws BadFrame for anything but one frame
 * @throws TypeError for a schema of another kind, or with kinds of fields that no frame has so far
 */
export function frameReader(
  schema: DescMessage,
): (bytes: Uint8Array) => { case: string; value: ReadMessage } {
  const shape = shapeOf(schema);
  const inOneof = schema.oneofs.length === 1 && schema.oneofs[0].fields.length === schema.fields.length;
  if (!inOneof || [...shape.fields.values()].some(({ message }) => message === undefined)) {
    throw new TypeError(`${schema.typeName} is not one oneof of messages`);
  }
  return (bytes) => new Reader(bytes).frame(shape);
}

function shapeOf(schema: DescMessage): MessageShape {
  const fields = new Map(schema.fields.map((field) => [field.number, fieldOf(field)]));
  const empty: Record<string, unknown> = { ...create(schema) };
  // All messages without elements share these.
  for (const { isList, property } of fields.values()) if (isList) Object.freeze(empty[property]);
  return { name: schema.name, fields, empty };
}

function fieldOf(field: DescField): FieldShape {
  const { name, localName: property, number } = field;
  const isList = field.fieldKind === "list";
  const message = field.message && shapeOf(field.message);
  if (message && field.message.oneofs.length > 0)
    throw new TypeError(`no message in a frame has a choice like ${field}`);
  const wireType = WIRE_TYPES.get(field.scalar);
  const isKnown = field.fieldKind !== "map" && (message !== undefined || field.scalar !== undefined);
  // Lists of numbers have another encoding.
  const isPacked = isList && wireType === WireType.Varint;
  if (!isKnown || wireType === undefined || isPacked || number > LARGEST_NUMBER) {
    throw new TypeError(`no frame has a field like ${field}`);
  }
  return { name, property, bit: 1 << number, wireType, scalar: field.scalar, message, isList };
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  frame(shape: MessageShape): { case: string; value: ReadMessage } {
    const { property, message } = this.#tag(shape, this.#bytes.length);
    const end = this.#end(this.#bytes.length);
    if (end !== this.#bytes.length) throw new BadFrame("bytes follow the message");
    return { case: property, value: this.#message(message as MessageShape, end) };
  }

  #message(shape: MessageShape, end: number): ReadMessage {
    const value: ReadMessage = { ...shape.empty };
    let seen = 0;
    while (this.#at < end) {
      const field = this.#tag(shape, end);
      if (field.isList) {
        const list = seen & field.bit ? (value[field.property] as unknown[]) : [];
        if (list.length === MOST_ELEMENTS)
          throw new BadFrame(`${field.name} has more than ${MOST_ELEMENTS} elements`);
        list.push(this.#value(field, end));
        value[field.property] = list;
      } else {
        if (seen & field.bit) throw new BadFrame(`${field.name} stands twice in ${shape.name}`);
        value[field.property] = this.#value(field, end);
      }
      seen |= field.bit;
    }
    return value;
  }

  #value({ scalar, message }: FieldShape, end: number): unknown {
    if (message !== undefined) return this.#message(message, this.#end(end));
    switch (scalar) {
      case ScalarType.UINT32:
        return this.#uint32(end);
      case ScalarType.UINT64:
        return this.#uint64(end);
      case ScalarType.BOOL:
        return this.#bool(end);
      case ScalarType.STRING:
        return this.#text(end);
      default:
        return this.#view(end);
    }
  }

  #tag(shape: MessageShape, end: number): FieldShape {
    const tag = this.#uint32(end);
    const field = shape.fields.get(tag >>> 3);
    if (field === undefined) throw new BadFrame(`${shape.name} has no field ${tag >>> 3}`);
    if ((tag & 7) !== field.wireType) throw new BadFrame(`${field.name} has the wrong type`);
    return field;
  }

  /** Reads a length. Returns where what has it ends, which is not beyond `end`. */
  #end(end: number): number {
    const length = this.#uint32(end);
    if (length > end - this.#at) throw new BadFrame("a length is larger than what is there");
    return this.#at + length;
  }

  #view(end: number): Uint8Array {
    const last = this.#end(end);
    const view = this.#bytes.subarray(this.#at, last);
    this.#at = last;
    return view;
  }

  #text(end: number): string {
    try {
      return text.decode(this.#view(end));
    } catch (error) {
      throw error instanceof BadFrame ? error : new BadFrame("a text is not UTF-8");
    }
  }

  #bool(end: number): boolean {
    const value = this.#uint32(end);
    if (value > 1) throw new BadFrame("a truth value is neither 0 nor 1");
    return value === 1;
  }

  #uint32(end: number): number {
    const value = this.#varint(end, 5);
    if (value > 0xffffffff) throw new BadFrame("a number has more than 32 bits");
    return value;
  }

  /** In two halves: a double holds the first seven groups of 7 bits, not all ten. */
  #uint64(end: number): bigint {
    const start = this.#at;
    let next = start;
    while (next < end && this.#bytes[next] >= 0x80 && next - start < 7) next++;
    if (next - start < 7) return BigInt(this.#varint(end, 7));
    let low = 0;
    for (let i = 6; i >= 0; i--) low = low * 128 + (this.#bytes[start + i] & 0x7f);
    this.#at = start + 7;
    const high = this.#varint(end, 3);
    if (high === 0 || high >= 2 ** 15) throw new BadFrame("a number is padded, or has more than 64 bits");
    return BigInt(low) + (BigInt(high) << 49n);
  }

  /** A number of at most so many groups of 7 bits, the least significant first, without groups of zeros at its end. */
  #varint(end: number, mostGroups: number): number {
    let value = 0;
    let factor = 1;
    for (let group = 0; group < mostGroups; group++) {
      if (this.#at >= end) throw new BadFrame("a number is cut off");
      const byte = this.#bytes[this.#at++];
      value += (byte & 0x7f) * factor;
      if (byte >= 0x80) {
        factor *= 128;
        continue;
      }
      if (byte === 0 && group > 0) throw new BadFrame("a number is padded");
      return value;
    }
    throw new BadFrame("a number is too long");
  }
}
