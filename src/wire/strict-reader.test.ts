/**
 * The strict reader against protobuf's general one: what it accepts, that one reads the same; what our encoder and
 * protobuf's write, in any order of fields, it accepts.
 */
import {
  create,
  createFileRegistry,
  type DescMessage,
  fromBinary,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import { decodeClientFrame, decodeProviderFrame } from "./frames.ts";
import { AnswerSchema, ClientFrameSchema, ProviderFrameSchema } from "./generated/tacet/v1/wire_pb.ts";
import { BadFrame, frameReader } from "./strict-reader.ts";

/** Frames with lists, as a message may have that is added to the protocol. */
const LISTS = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "lists.proto",
    package: "lists",
    syntax: "proto3",
    messageType: [
      {
        name: "Frame",
        oneofDecl: [{ name: "frame" }],
        field: [
          {
            name: "named",
            number: 1,
            type: Type.MESSAGE,
            typeName: ".lists.Named",
            label: Label.OPTIONAL,
            oneofIndex: 0,
          },
        ],
      },
      {
        name: "Named",
        field: [
          { name: "key_ids", number: 1, type: Type.BYTES, label: Label.REPEATED },
          { name: "parts", number: 2, type: Type.MESSAGE, typeName: ".lists.Part", label: Label.REPEATED },
          { name: "names", number: 3, type: Type.STRING, label: Label.REPEATED },
          { name: "left", number: 4, type: Type.UINT32, label: Label.OPTIONAL },
        ],
      },
      {
        name: "Part",
        field: [
          { name: "id", number: 1, type: Type.UINT32, label: Label.OPTIONAL },
          { name: "data", number: 2, type: Type.BYTES, label: Label.OPTIONAL },
        ],
      },
      { name: "Numbers", field: [{ name: "numbers", number: 1, type: Type.UINT32, label: Label.REPEATED }] },
    ],
  }),
  () => undefined,
);
const LISTS_FRAME = LISTS.getMessage("lists.Frame") as DescMessage;
const readLists = frameReader(LISTS_FRAME);

function decodeLists(bytes: Uint8Array): unknown {
  try {
    return readLists(bytes);
  } catch (error) {
    if (error instanceof BadFrame) throw new TacetError("bad_frame", error.message);
    throw error;
  }
}

const SIDES = [
  { side: "client", schema: ClientFrameSchema as DescMessage, decode: decodeClientFrame },
  { side: "provider", schema: ProviderFrameSchema as DescMessage, decode: decodeProviderFrame },
  { side: "peer with lists", schema: LISTS_FRAME, decode: decodeLists },
] as const;

/** Any message of a schema, as the initial values of create(). */
function anyMessage(schema: DescMessage): fc.Arbitrary<Record<string, unknown>> {
  const fields = schema.fields.map((field) => {
    const one = field.message === undefined ? anyScalar(field.scalar) : anyMessage(field.message);
    return [field.localName, field.fieldKind === "list" ? fc.array(one, { maxLength: 8 }) : one] as const;
  });
  return fc.record(Object.fromEntries(fields), { requiredKeys: [] });
}

function anyScalar(scalar: ScalarType | undefined): fc.Arbitrary<unknown> {
  switch (scalar) {
    case ScalarType.UINT32:
      return fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffffffff }), fc.constant(0xffffffff));
    case ScalarType.UINT64:
      return fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 2n ** 64n - 1n), fc.constant(2n ** 64n - 1n));
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.STRING:
      return fc.string({ unit: "binary", maxLength: 40 });
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 200 });
    default:
      throw new TypeError(`no values of type ${scalar}`);
  }
}

function anyFrame(schema: DescMessage): fc.Arbitrary<Uint8Array> {
  const members = schema.fields.map(({ localName, message }) =>
    anyMessage(message as DescMessage).map((value) => ({ case: localName, value })),
  );
  return fc.oneof(...members).map((frame) => toBinary(schema, create(schema, { frame } as never)));
}

/** The same message with the fields of each message in another order. */
function shuffled(schema: DescMessage, bytes: Uint8Array, order: () => number): Uint8Array {
  const reader = new BinaryReader(bytes);
  const fields: [number, Uint8Array, number][] = [];
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    const field = schema.fields.find((each) => each.number === number);
    const writer = new BinaryWriter().tag(number, wireType);
    if (wireType === WireType.LengthDelimited) {
      const inner = reader.bytes();
      writer.bytes(field?.message === undefined ? inner : shuffled(field.message, inner, order));
    } else {
      writer.raw(reader.skip(wireType, number));
    }
    // Elements of a list keep their order.
    const list = fields.findLast(([, , of]) => of === number && field?.fieldKind === "list");
    fields.push([list === undefined ? order() : list[0], writer.finish(), number]);
  }
  const out = new BinaryWriter();
  for (const [, field] of fields.sort(([a], [b]) => a - b)) out.raw(field);
  return out.finish();
}

const general = (schema: DescMessage, bytes: Uint8Array) =>
  (fromBinary(schema, bytes, { readUnknownFields: false }) as unknown as { frame: unknown }).frame;

const MAX = 1 << 20;
const runs = { numRuns: 400 };

describe.each(SIDES)("frames of a $side", ({ schema, decode }) => {
  it("are read as protobuf reads them, whatever they hold", () => {
    fc.assert(
      fc.property(anyFrame(schema), (bytes) => {
        expect(decode(bytes, MAX)).toEqual(general(schema, bytes));
      }),
      runs,
    );
  });

  it("are read with their fields in any order", () => {
    fc.assert(
      fc.property(anyFrame(schema), fc.infiniteStream(fc.double({ noNaN: true })), (bytes, order) => {
        const other = shuffled(schema, bytes, () => order.next().value as number);
        expect(decode(other, MAX)).toEqual(decode(bytes, MAX));
      }),
      runs,
    );
  });

  it("that were changed are refused, or read as protobuf reads them", () => {
    const change = fc.record({ at: fc.nat(), cut: fc.nat(3), put: fc.uint8Array({ maxLength: 6 }) });
    fc.assert(
      fc.property(anyFrame(schema), fc.array(change, { minLength: 1, maxLength: 3 }), (bytes, changes) => {
        let list = [...bytes];
        for (const { at, cut, put } of changes) {
          const place = at % (list.length + 1);
          list = [...list.slice(0, place), ...put, ...list.slice(place + cut)];
        }
        agreesIfAccepted(Uint8Array.from(list));
      }),
      { numRuns: 4_000 },
    );
  });

  it("of random fields are refused, or read as protobuf reads them", () => {
    const tags = schema.fields.flatMap(({ message }) => (message as DescMessage).fields.map((f) => f.number));
    const field = fc.tuple(fc.constantFrom(...tags, 15), fc.nat(5), fc.uint8Array({ maxLength: 11 }));
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 3, 4, 5, 6), fc.array(field, { maxLength: 5 }), (number, fields) => {
        const inner = new BinaryWriter();
        for (const [n, wireType, bytes] of fields) inner.raw(Uint8Array.of((n << 3) | wireType, ...bytes));
        const body = inner.finish();
        agreesIfAccepted(new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(body).finish());
      }),
      { numRuns: 4_000 },
    );
  });

  function agreesIfAccepted(bytes: Uint8Array): void {
    let read: unknown;
    try {
      read = decode(bytes, MAX);
    } catch (error) {
      expect(error).toMatchObject({ code: "bad_frame" });
      return;
    }
    expect(read).toEqual(general(schema, bytes));
  }
});

describe("a frame is refused", () => {
  const refused = (...bytes: number[]) => {
    try {
      decodeClientFrame(Uint8Array.from(bytes), MAX);
    } catch (error) {
      return (error as Error).message.replace(/^.*protocol: /, "");
    }
    return "read";
  };

  it.each([
    ["with nothing in it", [], "a number is cut off"],
    ["of an unknown message", [0x7a, 0x00], "ClientFrame has no field 15"],
    ["of a number", [0x18, 0x00], "query has the wrong type"],
    ["with two messages", [0x12, 0x00, 0x12, 0x00], "bytes follow the message"],
    ["with the same message in parts", [0x0a, 0x02, 8, 1, 0x0a, 0x02, 8, 1], "bytes follow the message"],
    ["with a byte behind it", [0x12, 0x00, 0x00], "bytes follow the message"],
    ["that is cut off", [0x1a, 0x05, 8, 1], "a length is larger than what is there"],
    ["with a field twice", [0x1a, 0x04, 8, 1, 8, 1], "id stands twice in Query"],
    ["with an unknown field", [0x1a, 0x02, 0x78, 1], "Query has no field 15"],
    ["with a field of another type", [0x1a, 0x02, 0x0a, 0], "id has the wrong type"],
    ["with a padded number", [0x1a, 0x03, 8, 0x81, 0x00], "a number is padded"],
    ["with a padded tag", [0x9a, 0x00, 0x00], "a number is padded"],
    ["with a padded length", [0x12, 0x80, 0x00], "a number is padded"],
    ["with 33 bits", [0x1a, 0x06, 8, 0x80, 0x80, 0x80, 0x80, 0x10], "a number has more than 32 bits"],
    ["with a number without end", [0x1a, 0x08, 8, 255, 255, 255, 255, 255, 255, 1], "a number is too long"],
    ["whose field goes beyond it", [0x1a, 0x04, 0x22, 0x04, 1, 1], "a length is larger than what is there"],
    ["whose number goes beyond its message", [0x1a, 0x02, 8, 0x80, 1], "bytes follow the message"],
    ["whose text is not UTF-8", [0x22, 0x03, 0x0a, 0x01, 0xff], "a text is not UTF-8"],
  ])("%s", (_, bytes, why) => {
    expect(refused(...bytes)).toBe(why);
  });

  it.each([
    ["a truth value of 2", [0x12, 0x02, 0x18, 0x02], "a truth value is neither 0 nor 1"],
    [
      "65 bits",
      [0x12, 0x0b, 0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 3],
      "a number is padded, or has more than 64 bits",
    ],
    ["a padded long number", [0x12, 0x09, 0x08, 255, 255, 255, 255, 255, 255, 128, 0], "a number is padded"],
  ])("of a provider, with %s", (_, bytes, why) => {
    expect(() => decodeProviderFrame(Uint8Array.from(bytes), MAX)).toThrow(why);
  });
});

describe("a list", () => {
  const element = [0x0a, 0x01, 7];
  const frameOf = (count: number) =>
    Uint8Array.of(0x0a, 3 * count, ...Array.from({ length: count }, () => element).flat());

  it("has few elements", () => {
    expect(readLists(frameOf(32)).value.keyIds).toHaveLength(32);
    expect(() => readLists(frameOf(33))).toThrow("key_ids has more than 32 elements");
  });

  it("is another one in each message", () => {
    const [first, second] = [readLists(frameOf(1)), readLists(frameOf(2))];
    expect([first.value.keyIds, second.value.keyIds]).toMatchObject([{ length: 1 }, { length: 2 }]);
    expect(readLists(Uint8Array.of(0x0a, 0x00)).value.keyIds).toEqual([]);
  });

  it("of numbers is not known", () => {
    expect(() => frameReader(LISTS.getMessage("lists.Numbers") as DescMessage)).toThrow(TypeError);
  });
});

describe("reading", () => {
  it("of 64 MiB of repeated fields ends with the first repetition", () => {
    // Empty Hellos and Queries in turns, each merged by the general decoder; parts of one Query; and fields of one.
    const turns = new Uint8Array(64 << 20).map((_, i) => [0x0a, 0x00, 0x1a, 0x00][i & 3]);
    const parts = new Uint8Array(64 << 20).map((_, i) => [0x1a, 0x00][i & 1]);
    const fields = new Uint8Array(64 << 20).map((_, i) => [0x08, 0x01][i & 1]);
    const length = fields.length - 5;
    fields.set([0x1a, 0x80 | (length & 127), 0x80 | ((length >> 7) & 127), 0x80 | ((length >> 14) & 127)]);
    fields[4] = length >> 21;
    for (const bytes of [turns, parts, fields]) {
      expect(() => decodeClientFrame(bytes, 64 << 20)).toThrow(
        expect.objectContaining({ code: "bad_frame" }),
      );
    }
  });

  it("copies no ciphertext", () => {
    const ciphertext = new Uint8Array(1000).fill(7);
    const bytes = toBinary(
      ClientFrameSchema,
      create(ClientFrameSchema, { frame: { case: "query", value: { id: 1, ciphertext } } }),
    );
    const { value } = decodeClientFrame(bytes, MAX);
    expect((value as { ciphertext: Uint8Array }).ciphertext.buffer).toBe(bytes.buffer);
  });

  it("is made for frames alone", () => {
    expect(() => frameReader(AnswerSchema)).toThrow(TypeError);
    expect(() => frameReader(ClientFrameSchema)(new Uint8Array(1))).toThrow(BadFrame);
  });
});
