import { describe, expect, it } from "vitest";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { tinyAdapter, tinyBundle } from "../../test/support/tiny-bundle.ts";
import { mergeLora } from "../pll/lora-split.ts";
import { multiply } from "../pll/orthogonal.ts";
import { systemRandom } from "../ring/random-source.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { decodeBundle } from "./bundle.ts";
import { createBundle } from "./create-bundle.ts";
import { readPrivateState } from "./private-state.ts";

describe("createBundle", () => {
  it("scales·W, times B', is scale·B·A to the weights' bits", async () => {
    const input = tinyAdapter();
    const made = await createBundle(input, systemRandom);
    const { manifest, groups } = await decodeBundle(made.bundle);
    const tree = memoryFileTree({ "p.safetensors": made.privateState }, "state");
    const secrets = await readPrivateState(tree, "p.safetensors", manifest, made.digest);
    for (const [g, { inFeatures, modules }] of manifest.groups.entries()) {
      const { weights } = secrets.groups[g];
      let row = 0;
      for (const [i, module] of modules.entries()) {
        const real = Float64Array.from({ length: module.rows * inFeatures }, (_, k) => {
          const r = row + Math.floor(k / inFeatures);
          return groups[g].scales[r] * weights[r * inFeatures + (k % inFeatures)];
        });
        for (let r = row; r < row + module.rows; r++) {
          const norm = Math.hypot(...weights.subarray(r * inFeatures, (r + 1) * inFeatures));
          expect(norm).toBeLessThanOrEqual(DEFAULT_PARAMETERS.rowNorm);
        }
        row += module.rows;
        const got = multiply(groups[g].bases[i], real, module.outFeatures, module.rows, inFeatures);
        const want = mergeLora(input.modules.get(module.name)!);
        const largest = Math.max(...want.map(Math.abs));
        // A float16 basis and a few rows: about 2^-11 of the largest entry.
        const error = Math.max(...got.map((value, k) => Math.abs(value - want[k])));
        expect(error / largest).toBeLessThan(2 ** -9);
      }
    }
  });

  it("refuses every name that a client would refuse, and takes all others", async () => {
    const input = tinyAdapter();
    const long = "x".repeat(129);
    for (const adapter of ["", "a\nb", "\u001b[31m", "a\u202eb", "\ud800", "\ue000", "\u{e0041}", long]) {
      const made = createBundle({ ...input, adapter }, systemRandom);
      await expect(made, JSON.stringify(adapter)).rejects.toMatchObject({ code: "bad_argument" });
    }
    for (const adapter of ["law", "Gesetze: Österreich", "法律 2", "a/b c'd\"", "x".repeat(128)]) {
      const { manifest } = await decodeBundle(
        (await createBundle({ ...input, adapter }, systemRandom)).bundle,
      );
      expect(manifest.adapter).toBe(adapter);
    }
  });

  it("refuses a module's name that a client would refuse", async () => {
    const input = tinyAdapter();
    const name = "m.0.q\u0007";
    const modules = new Map([...input.modules, [name, input.modules.get("m.0.q")!]]);
    const groups = [{ layer: 0, modules: [name], inFeatures: 24 }];
    await expect(createBundle({ ...input, modules, groups }, systemRandom)).rejects.toMatchObject({
      code: "bad_adapter",
      message: expect.stringContaining("m.0.q\\u0007"),
    });
  });

  it("says what it was made for", async () => {
    const { manifest } = await tinyBundle();
    expect(manifest).toMatchObject({
      version: 2,
      adapter: "tiny",
      baseFingerprint: "5a".repeat(32),
      parameters: { ...DEFAULT_PARAMETERS },
      groups: [
        { layer: 0, inFeatures: 24 },
        { layer: 1, inFeatures: 40 },
      ],
    });
    expect(manifest.groups[0].modules).toEqual([
      { name: "m.0.q", outFeatures: 20, rows: 4 },
      { name: "m.0.v", outFeatures: 12, rows: 2 },
    ]);
  });

  it("is new each time: another id, signer, basis and private state for the same adapter", async () => {
    const [first, second] = [await tinyBundle(), await tinyBundle()];
    expect(first.manifest.bundleId).not.toBe(second.manifest.bundleId);
    const [a, b] = [await decodeBundle(first.bundle), await decodeBundle(second.bundle)];
    expect(first.manifest.keySigner).not.toBe(second.manifest.keySigner);
    expect(a.groups[0].bases[0]).not.toEqual(b.groups[0].bases[0]);
    expect(first.privateState).not.toEqual(second.privateState);
  });

  it("is a function of the adapter and the random bytes", async () => {
    const [first, second] = [
      await tinyBundle(seededRandom("bundle")),
      await tinyBundle(seededRandom("bundle")),
    ];
    expect(first.bundle).toEqual(second.bundle);
    expect(first.privateState).toEqual(second.privateState);
  });

  it("tells how far it is", async () => {
    const seen: [number, number][] = [];
    await createBundle(tinyAdapter(), systemRandom, (done, total) => void seen.push([done, total]));
    expect(seen).toEqual([
      [0, 2],
      [1, 2],
      [2, 2],
    ]);
  });

  it("refuses an adapter without modules, with missing ones, or with numbers that are not finite", async () => {
    const good = tinyAdapter();
    const spoilt = tinyAdapter();
    spoilt.modules.get("m.0.v")!.b[3] = Number.NaN;
    const infinite = tinyAdapter();
    infinite.modules.get("m.0.q")!.a[0] = Number.NEGATIVE_INFINITY;
    for (const bad of [{ ...good, groups: [] }, { ...good, modules: new Map() }, spoilt, infinite]) {
      await expect(createBundle(bad, systemRandom)).rejects.toMatchObject({ code: "bad_adapter" });
    }
  });
});
