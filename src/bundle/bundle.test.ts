/** A bundle is untrusted: whatever is wrong with it is a TacetError bad_bundle, before anything uses it. */
import { createHash } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { type EditableFile, editSafetensors } from "../../test/support/edit-safetensors.ts";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { TacetError } from "../base/errors.ts";
import { decodeBundle, encodeBundle } from "./bundle.ts";
import type { CreatedBundle } from "./create-bundle.ts";
import { toFloat16 } from "../base/float16.ts";

let made: CreatedBundle;
beforeAll(async () => {
  made = await tinyBundle();
});

async function expectRefused(bytes: Uint8Array): Promise<void> {
  const error = await decodeBundle(bytes).then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(TacetError);
  expect(error).toMatchObject({ code: "bad_bundle" });
  expect((error as TacetError).message.length).toBeLessThan(400);
}

const edited = (edit: (file: EditableFile) => void) => editSafetensors(made.bundle, edit);

/** The manifest, changed as plain JSON. */
// biome-ignore lint/suspicious/noExplicitAny: it is broken on purpose
const withManifest = (change: (manifest: any) => unknown) =>
  edited((file) => {
    const manifest = JSON.parse(file.metadata.tacet);
    const replaced = change(manifest);
    file.metadata.tacet = typeof replaced === "string" ? replaced : JSON.stringify(manifest);
  });

describe("a whole bundle", () => {
  it("decodes to what was encoded, byte for byte", async () => {
    const { bundle: bytes, manifest, digest } = made;
    const bundle = await decodeBundle(bytes);
    expect(bundle.manifest).toEqual(JSON.parse(JSON.stringify(manifest)));
    expect(Buffer.from(bundle.digest)).toEqual(createHash("sha256").update(bytes).digest());
    expect(bundle.digest).toEqual(digest);
    expect(encodeBundle(bundle.manifest, bundle.groups)).toEqual(bytes);
    const bases = bundle.groups.map((group) => group.bases.length);
    expect(bases).toEqual([2, 1]);
  });

  it("is unchanged by taking it apart and putting it together (the test's own tool)", () => {
    expect(edited(() => {})).toEqual(made.bundle);
  });

  it("reads from a view into a larger buffer", async () => {
    const padded = new Uint8Array(made.bundle.length + 3);
    padded.set(made.bundle, 3);
    expect((await decodeBundle(padded.subarray(3))).digest).toEqual(made.digest);
    // A Buffer's slice is a view of its memory, a Uint8Array's is a copy.
    const fromBuffer = await decodeBundle(Buffer.from(padded).subarray(3));
    expect(fromBuffer.groups).toEqual((await decodeBundle(made.bundle)).groups);
  });
});

describe("tensors", () => {
  const names = ["scales", "basis.0", "basis.1"].map((name) => `group.0.${name}`);
  names.push("group.1.scales", "group.1.basis.0");

  it("are the ones this test goes through", () => {
    edited((file) => expect(file.tensors.map(({ name }) => name).sort()).toEqual([...names].sort()));
  });

  describe.each(names)("%s", (name) => {
    const change = (edit: (tensor: EditableFile["tensors"][number]) => void) =>
      edited((file) => edit(file.tensors.find((tensor) => tensor.name === name)!));

    it("is missed", () =>
      expectRefused(
        edited((file) => {
          file.tensors = file.tensors.filter((tensor) => tensor.name !== name);
        }),
      ));

    it("is refused under another name", () => expectRefused(change((tensor) => (tensor.name += "x"))));

    it("is refused in another shape", async () => {
      await expectRefused(change((tensor) => tensor.shape.unshift(1)));
      await expectRefused(change((tensor) => (tensor.shape = [tensor.shape.reduce((a, b) => a * b), 1, 1])));
    });

    it("is refused with a row less", () =>
      expectRefused(
        change((tensor) => {
          const row = tensor.data.length / tensor.shape[0];
          tensor.shape[0]--;
          tensor.data = tensor.data.subarray(row);
        }),
      ));

    it("is refused as another type of the same width", () =>
      expectRefused(
        change((tensor) => {
          const other = { U8: "I8", F64: "I64", F16: "BF16" } as const;
          tensor.dtype = other[tensor.dtype as keyof typeof other];
        }),
      ));
  });

  it.each([Number.NaN, -1, 0, -0, Number.POSITIVE_INFINITY, 2 ** 100, -(2 ** -100)])(
    "a scale of %d is refused",
    (scale) =>
      expectRefused(
        edited((file) => {
          const { data } = file.tensors.find(({ name }) => name === "group.1.scales")!;
          new DataView(data.buffer).setFloat64(8, scale, true);
        }),
      ),
  );

  it.each<[string, (basis: Uint16Array, columns: number) => void]>([
    ["zero", (basis) => basis.fill(0)],
    ["NaN in one place", (basis) => basis.fill(0x7e00, 5, 6)],
    ["infinite in one place", (basis) => basis.fill(0x7c00, 5, 6)],
    [
      "with a column twice",
      (basis, k) => basis.set(basis.map((half, i) => (i % k === 1 ? basis[i - 1] : half))),
    ],
    ["with a column of zeros", (basis, k) => basis.set(basis.map((half, i) => (i % k === 0 ? 0 : half)))],
    ["of ones", (basis) => basis.fill(0x3c00)],
  ])("a basis that is %s is refused", (_, spoil) =>
    expectRefused(
      edited((file) => {
        const tensor = file.tensors.find(({ name }) => name === "group.0.basis.0")!;
        spoil(new Uint16Array(tensor.data.buffer), tensor.shape[1]);
      }),
    ),
  );

  it("a basis whose columns are 1 % too long is refused, one that float16 rounded is not", async () => {
    const { groups } = await decodeBundle(made.bundle);
    await expectRefused(
      edited((file) => {
        const tensor = file.tensors.find(({ name }) => name === "group.0.basis.0")!;
        const halves = toFloat16(groups[0].bases[0].map((value) => value * 1.01));
        tensor.data = new Uint8Array(halves.buffer);
      }),
    );
  });
});

describe("the manifest", () => {
  it.each<[string, Record<string, unknown>]>([
    ["a short key", { keyLength: 512 }],
    ["a narrow secret", { secretBits: 1 }],
    ["no error of the weights", { weightErrorBits: 0 }],
    ["no error of the hint", { hintErrorBits: 0 }],
    ["no error of the user", { errorEta: 0 }],
    ["a small ring", { ringDegree: 256 }],
    ["a large modulus", { logQ: 60 }],
    ["weights of no bits", { weightBits: 0 }],
    ["a hint of more bits than words have", { hintBits: 33 }],
    ["a key that never wears out", { vectorsPerKey: 2 ** 30 }],
    ["a key length that is not a number", { keyLength: "1456" }],
    ["a key length that is missing", { keyLength: undefined }],
    ["a name that is missing", { name: undefined }],
  ])("parameters with %s are refused", (_, change) =>
    expectRefused(withManifest((m) => void Object.assign(m.parameters, change))),
  );

  it.each<[string, (m: Record<string, never>) => unknown]>([
    ["version 0", (m) => Object.assign(m, { version: 0 })],
    ["version 1", (m) => Object.assign(m, { version: 1 })],
    ["version 3", (m) => Object.assign(m, { version: 3 })],
    ["a version that is text", (m) => Object.assign(m, { version: "2" })],
    ["no version", (m) => Object.assign(m, { version: undefined })],
    ["a version of a megabyte", (m) => Object.assign(m, { version: "1".repeat(1 << 20) })],
    ["no adapter name", (m) => Object.assign(m, { adapter: "" })],
    ["a name that moves the cursor", (m) => Object.assign(m, { adapter: "\u001b[2Jlaw" })],
    ["a name of 513 letters", (m) => Object.assign(m, { adapter: "a".repeat(513) })],
    ["no bundle id", (m) => Object.assign(m, { bundleId: undefined })],
    ["a short bundle id", (m) => Object.assign(m, { bundleId: "00".repeat(15) })],
    ["a bundle id in capitals", (m) => Object.assign(m, { bundleId: "AB".repeat(16) })],
    ["no signer of keys", (m) => Object.assign(m, { keySigner: undefined })],
    ["a short signer of keys", (m) => Object.assign(m, { keySigner: "00".repeat(31) })],
    ["a short fingerprint", (m) => Object.assign(m, { baseFingerprint: "00".repeat(31) })],
    ["a short fingerprint of vectors", (m) => Object.assign(m, { baseVectorsFingerprint: "00".repeat(31) })],
    ["no groups", (m) => Object.assign(m, { groups: [] })],
    ["groups that are no list", (m) => Object.assign(m, { groups: { length: 2 } })],
    [
      "more groups than the file",
      (m) => Object.assign(m, { groups: [m.groups[0], m.groups[1], m.groups[1]] }),
    ],
    ["parameters that are a list", (m) => Object.assign(m, { parameters: [] })],
    ["text that is not JSON", () => "{"],
    ["null", () => "null"],
    ["a list", () => "[]"],
    ["nothing", () => ""],
    ["a repeated key", (m) => JSON.stringify(m).replace('"version":2', '"version":2,"version":2')],
    ["a repeated key inside", (m) => JSON.stringify(m).replace('"logQ":32', '"logQ":32,"logQ":32')],
    ["the key __proto__", (m) => JSON.stringify(m).replace('"version":2', '"__proto__":{},"version":2')],
  ])("with %s is refused", (_, change) =>
    expectRefused(withManifest((m) => (typeof change(m) === "string" ? change(m) : undefined))),
  );

  it.each<[string, Record<string, unknown>]>([
    ["layer −1", { layer: -1 }],
    ["half a layer", { layer: 0.5 }],
    ["no inputs", { inFeatures: 0 }],
    ["2^19 + 1 inputs", { inFeatures: 2 ** 19 + 1 }],
    ["no modules", { modules: [] }],
    ["a module without a name", { modules: [{ outFeatures: 24, rows: 3 }] }],
    ["a module without rows", { modules: [{ name: "m", outFeatures: 24, rows: 0 }] }],
    ["more rows than outputs", { modules: [{ name: "m", outFeatures: 2, rows: 3 }] }],
    ["another number of rows than the scales", { modules: [{ name: "m", outFeatures: 24, rows: 4 }] }],
    ["other outputs than the basis", { modules: [{ name: "m", outFeatures: 25, rows: 3 }] }],
    ["257 modules", { modules: Array(257).fill({ name: "m", outFeatures: 24, rows: 3 }) }],
  ])("a group with %s is refused", (_, change) =>
    expectRefused(withManifest((m) => void Object.assign(m.groups[1], change))),
  );

  it.each<[string, unknown]>([
    ["null", null],
    ["a list", []],
    ["no end id in the list", { endIds: [] }],
    ["33 ends", { endIds: Array.from({ length: 33 }, (_, i) => i) }],
    ["an end below 0", { endIds: [-1] }],
    ["half an id", { endIds: [1.5] }],
    ["an id of 2^31", { endIds: [2 ** 31] }],
    ["a template that is no text", { chatTemplate: 7 }],
    ["an empty template", { chatTemplate: "" }],
    ["a template of 65,537 characters", { chatTemplate: "x".repeat(65_537) }],
    ["special tokens that are a list", { specialTokens: [] }],
    ["a special token that nobody knows", { specialTokens: { messages: "x" } }],
    ["a special token with a line's end", { specialTokens: { eos_token: "a\nb" } }],
    ["a special token of 129 letters", { specialTokens: { eos_token: "a".repeat(129) } }],
    ["a word as control token", { addedTokens: [{ id: 1, text: "secret" }] }],
    ["a control token with a space", { addedTokens: [{ id: 1, text: "<a b>" }] }],
    ["a control token twice", { addedTokens: Array(2).fill({ id: 1, text: "<a>" }) }],
    [
      "513 control tokens",
      { addedTokens: Array.from({ length: 513 }, (_, id) => ({ id, text: `<${id}>` })) },
    ],
  ])("a text with %s is refused", (_, text) => expectRefused(withManifest((m) => void (m.text = text))));

  it("a text is kept as it is, and nothing of what is not known in it", async () => {
    const text = {
      endIds: [3, 7],
      chatTemplate: "{{ messages }}",
      specialTokens: { eos_token: "<|end|>" },
      addedTokens: [{ id: 9, text: "<|im_end|>" }],
    };
    const bytes = withManifest((m) => void (m.text = { ...text, later: 1 }));
    expect((await decodeBundle(bytes)).manifest.text).toEqual(text);
    expect((await decodeBundle(made.bundle)).manifest).not.toHaveProperty("text");
  });

  it.each<[string, unknown]>([
    ["of no token", []],
    ["of 65 tokens", Array(65).fill(1)],
    ["that is a number", 7],
    ["of half a token", [1.5]],
    ["of a negative token", [-1]],
    ["of an id of 2^31", [2 ** 31]],
  ])("an invocation %s is refused", (_, ids) =>
    expectRefused(withManifest((m) => void (m.invocationTokens = ids))),
  );

  it("an invocation is kept as it is, where there is one", async () => {
    const bytes = withManifest((m) => void (m.invocationTokens = [7, 7, 9]));
    expect((await decodeBundle(bytes)).manifest.invocationTokens).toEqual([7, 7, 9]);
    expect((await decodeBundle(made.bundle)).manifest).not.toHaveProperty("invocationTokens");
  });

  it("that is missing is refused", () => expectRefused(edited((file) => void delete file.metadata.tacet)));
});

describe("damage", () => {
  it("cut anywhere, or longer by a byte: refused", async () => {
    const { bundle } = made;
    for (const length of [0, 1, 7, 8, 9, 100, 1000, bundle.length >> 1, bundle.length - 1]) {
      await expectRefused(bundle.subarray(0, length));
    }
    await expectRefused(Uint8Array.from([...bundle, 0]));
  });

  it("a flipped bit of the header is refused as bad_bundle, or changes a value that is free", async () => {
    const { bundle } = made;
    const headerBits = 8 * (8 + new DataView(bundle.buffer, bundle.byteOffset).getUint32(0, true));
    const step = process.env.SLOW === "1" ? 1 : 37;
    let refused = 0;
    for (let bit = 0; bit < headerBits; bit += step) {
      const copy = bundle.slice();
      copy[bit >> 3] ^= 1 << (bit & 7);
      const outcome = await decodeBundle(copy).then(
        () => "decoded",
        (error: unknown) => (error instanceof TacetError ? error.code : error),
      );
      expect(["decoded", "bad_bundle"]).toContain(outcome);
      if (outcome === "bad_bundle") refused++;
    }
    expect(refused).toBeGreaterThan(0.7 * (headerBits / step));
  });
});
