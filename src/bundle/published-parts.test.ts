import { describe, expect, it } from "vitest";
import { expectTable } from "../../test/support/computed-parts.ts";
import { tinyAdapter } from "../../test/support/tiny-bundle.ts";
import { bytesOf } from "../base/bytes.ts";
import { systemRandom } from "../ring/random-source.ts";
import { type BaseChanges, NO_CHANGES } from "../weights/base-changes.ts";
import { decodeBundle } from "./bundle.ts";
import { createBundle } from "./create-bundle.ts";
import { PART_NAMES, PARTS, type PartName } from "./published-parts.ts";
import { editSafetensors } from "../../test/support/edit-safetensors.ts";

const PROVIDER = new URL("../../docs/provider.md", import.meta.url);

const f32 = (shape: number[], fill: number) => ({
  dtype: "F32" as const,
  shape,
  bytes: bytesOf(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill)),
});
const CHANGES: BaseChanges = {
  tensors: new Map([
    ["m.norm.weight", f32([24], 2)],
    ["m.0.q.bias", f32([20], 3)],
    ["m.head.weight", f32([50, 24], 4)],
  ]),
  tokens: new Map([["m.embed", { ids: Int32Array.of(3, 7), rows: new Float32Array(48).fill(5) }]]),
  scales: new Map([["m.0.q", new Float32Array(20).fill(6)]]),
  biases: new Map([["m.0.v", new Float32Array(12).fill(7)]]),
};
const ALL: readonly PartName[] = ["norm", "bias", "dora-scales", "modules", "tokens"];
const bundleOf = (changes: BaseChanges, publish?: readonly PartName[]) =>
  createBundle({ ...tinyAdapter(), changes, publish }, systemRandom);

describe("what is published", () => {
  it("is described in docs/provider.md", () => {
    const rows = PART_NAMES.map((name) => {
      const { what, tells, anyway } = PARTS[name];
      return `| \`${name}\` | ${what} | ${tells} | ${anyway} |`;
    });
    expectTable(
      PROVIDER,
      "published",
      [
        "| part | what it is | tells | a client that asks would learn anyway |",
        "|---|---|---|---|",
        ...rows,
      ].join("\n"),
    );
  });

  it("is what the provider names, and without it no bundle is made", async () => {
    await expect(bundleOf(CHANGES)).rejects.toThrow(
      expect.objectContaining({
        code: "unsupported_adapter",
        message: expect.stringMatching(
          /that are no bias \(norm\), biases \(bias\), row scales of DoRA \(dora-scales\), whole modules/,
        ),
        hint: expect.stringMatching(/--publish norm,bias,dora-scales,modules,tokens /),
      }),
    );
    await expect(bundleOf(CHANGES, ALL.slice(1))).rejects.toThrow(/that are no bias \(norm\)/);
    await expect(bundleOf(NO_CHANGES, ["weights" as PartName])).rejects.toThrow(
      expect.objectContaining({ code: "bad_argument", hint: expect.stringMatching(/norm, bias/) }),
    );
  });

  it("comes out of the bundle as it went in, under its digest", async () => {
    const { bundle: bytes, manifest } = await bundleOf(CHANGES, ALL);
    expect(manifest).toMatchObject({ version: 3, changes: { published: ALL } });
    const { changes } = await decodeBundle(bytes);
    expect(changes).toEqual(CHANGES);
    const other = await bundleOf({ ...CHANGES, scales: new Map([["m.0.q", new Float32Array(20)]]) }, ALL);
    expect(other.digest).not.toEqual((await bundleOf(CHANGES, ALL)).digest);
  });

  it("is nothing in a bundle of version 2, which is made where nothing must be", async () => {
    const { manifest, bundle } = await bundleOf(NO_CHANGES, ALL);
    expect(manifest.version).toBe(2);
    expect(manifest).not.toHaveProperty("changes.published");
    expect((await decodeBundle(bundle)).changes).toEqual(NO_CHANGES);
  });

  it("says so where embedding and head have one adapter", async () => {
    const random = (length: number, seed: number) =>
      Float32Array.from({ length }, (_, i) => Math.sin(seed + i * 1.7));
    const a = random(2 * 50, 1);
    const b = random(24 * 2, 2);
    const turned = (matrix: Float32Array, rows: number, columns: number) =>
      Float32Array.from(
        { length: matrix.length },
        (_, i) => matrix[(i % rows) * columns + Math.floor(i / rows)],
      );
    const embedding = { rank: 2, inFeatures: 50, outFeatures: 24, a, b, scale: 1, isEmbedding: true };
    const head = {
      rank: 2,
      inFeatures: 24,
      outFeatures: 50,
      a: turned(b, 24, 2),
      b: turned(a, 2, 50),
      scale: 1,
    };
    const input = {
      ...tinyAdapter(),
      groups: [
        { layer: 0, modules: ["m.embed"], inFeatures: 50, input: "ids" as const },
        { layer: 1, modules: ["m.head"], inFeatures: 24 },
      ],
      modules: new Map([
        ["m.embed", embedding],
        ["m.head", head],
      ]),
    };
    await expect(createBundle(input, systemRandom)).rejects.toThrow(/embedding and head share \(tied-head\)/);
    const { manifest } = await createBundle({ ...input, publish: ["tied-head"] }, systemRandom);
    expect(manifest).toMatchObject({ version: 3, groups: [{ input: "ids" }, {}] });
    const apart = { ...input, modules: new Map(input.modules).set("m.head", { ...head, b: random(100, 9) }) };
    await createBundle(apart, systemRandom);
  });

  it.each<[string, (changes: Record<string, never[]>) => void]>([
    ["another part", (changes) => changes.published.push("weights" as never)],
    ["no part", (changes) => void (changes.published = [])],
    ["a tensor twice", (changes) => changes.tensors.push(changes.tensors[0])],
    ["another type", (changes) => Object.assign(changes.tensors[0], { dtype: "I8" })],
    ["another shape", (changes) => Object.assign(changes.tensors[0], { shape: [25] })],
    ["no shape", (changes) => Object.assign(changes.tensors[0], { shape: [] })],
    ["more rows of tokens", (changes) => Object.assign(changes.tokens[0], { count: 3 })],
    ["a module without a name", (changes) => Object.assign(changes.scales[0], { module: "" })],
    ["other scales", (changes) => Object.assign(changes.scales[0], { outFeatures: 21 })],
  ])("is refused with %s", async (_, change) => {
    const { bundle } = await bundleOf(CHANGES, ALL);
    const bytes = editSafetensors(bundle, (file) => {
      const manifest = JSON.parse(file.metadata.tacet);
      change(manifest.changes);
      file.metadata.tacet = JSON.stringify(manifest);
    });
    await expect(decodeBundle(bytes)).rejects.toMatchObject({ code: "bad_bundle" });
  });

  it("is refused with values that are not finite, and ids that do not rise", async () => {
    const { bundle } = await bundleOf(CHANGES, ALL);
    const spoilt = (name: string, spoil: (view: DataView) => void) =>
      editSafetensors(bundle, (file) => {
        const { data } = file.tensors.find((tensor) => tensor.name === name)!;
        spoil(new DataView(data.buffer, data.byteOffset));
      });
    for (const name of ["changes.tensor.0", "changes.rows.0", "changes.scales.0", "changes.biases.0"]) {
      const bytes = spoilt(name, (view) => view.setFloat32(4, Number.NaN, true));
      await expect(decodeBundle(bytes)).rejects.toMatchObject({ code: "bad_bundle" });
    }
    for (const id of [7, 8, -1]) {
      const bytes = spoilt("changes.ids.0", (view) => view.setInt32(0, id, true));
      await expect(decodeBundle(bytes)).rejects.toMatchObject({ code: "bad_bundle" });
    }
  });

  it("is not read from a bundle of version 2, whose client would not know of it", async () => {
    const { bundle } = await bundleOf(CHANGES, ALL);
    const bytes = editSafetensors(bundle, (file) => {
      const manifest = JSON.parse(file.metadata.tacet);
      file.metadata.tacet = JSON.stringify({ ...manifest, version: 2 });
    });
    await expect(decodeBundle(bytes)).rejects.toMatchObject({ code: "bad_bundle" });
  });
});
