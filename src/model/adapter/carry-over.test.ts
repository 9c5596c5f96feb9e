import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goldenFolder, goldenModel, goldenOf, type TestModel } from "../../../test/support/models.ts";
import { type PackingOptions, smoothingOf, writePacked } from "../../../test/support/packed-folder.ts";
import { nodeTensorRuntime } from "../../platform/node/tensors.ts";
import { nodeFileCache, nodeFileTree } from "../../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../weights/checkpoint.ts";
import { CausalLm } from "../causal-lm.ts";
import { carryOver } from "./carry-over.ts";
import { type FittedAdapter, fitAdapter } from "./fit-adapter.ts";
import { LocalLora } from "./local-lora.ts";

const NAME = "llama-f32";
const AWQ: PackingOptions = { method: "awq", groupSize: 32, smoothed: true };

let dir: string;
let test: TestModel;
let fitted: FittedAdapter;
/** In F16, not quantized; and as AWQ packs it. */
let plain: Checkpoint;
let packed: Checkpoint;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "tacet-carry-"));
  test = await goldenModel(NAME);
  fitted = await fitAdapter(test.adapter, test.checkpoint);
  const base = goldenFolder(NAME);
  plain = await openCheckpoint(
    nodeFileTree((await writePacked(base, join(dir, "f16"), { ...AWQ, except: /./ })).numbers),
  );
  packed = await openCheckpoint(nodeFileTree((await writePacked(base, join(dir, "awq"), AWQ)).packed));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function logitsOf(checkpoint: Checkpoint, adapter?: FittedAdapter): Promise<Float32Array> {
  const deltas = adapter && new LocalLora(adapter);
  const weightCache = nodeFileCache(join(dir, "cache"));
  const model = await CausalLm.load(checkpoint, nodeTensorRuntime(), { deltas, weightCache });
  const logits = await model.forward(goldenOf(NAME).input_ids, model.newCache());
  await model.dispose();
  return logits;
}

function distance(got: Float32Array, want: Float32Array): number {
  const rms = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  return rms(got.map((v, i) => v - want[i])) / rms(want);
}

describe("carryOver", () => {
  it("gives an adapter that does on a smoothed copy what it did on the original", async () => {
    const want = await logitsOf(test.checkpoint, fitted);
    // The copy is the same model, rounded to F16.
    expect(distance(await logitsOf(plain), await logitsOf(test.checkpoint))).toBeLessThan(0.01);
    const carried = await carryOver(fitted, test.checkpoint, plain);
    expect(distance(await logitsOf(plain, carried), want)).toBeLessThan(0.01);
    expect(distance(await logitsOf(plain, fitted), want)).toBeGreaterThan(0.05);
  });

  it("finds the scales of a copy in 4 bits, but for what rounding leaves", async () => {
    const carried = await carryOver(fitted, test.checkpoint, packed);
    expect(carried.groups).toEqual(fitted.groups);
    for (const [name, { a, b, rank, inFeatures, outFeatures, scale }] of carried.modules) {
      const from = fitted.modules.get(name)!;
      const { s, r } = smoothingOf(name, [outFeatures, inFeatures]);
      // Of a row of B·A: what is known of r and s is known of their products.
      const rowOf = (left: ArrayLike<number>, right: ArrayLike<number>, j: number) =>
        Float32Array.from({ length: inFeatures }, (_, k) => {
          let sum = 0;
          for (let i = 0; i < rank; i++) sum += left[j * rank + i] * right[i * inFeatures + k];
          return scale * sum;
        });
      for (const j of [0, outFeatures - 1]) {
        const want = rowOf(from.b, from.a, j).map((value, k) => value * r[j] * s[k]);
        expect(distance(rowOf(b, a, j), want), name).toBeLessThan(0.05);
      }
    }
  });

  it("tells how far it is, and stops", async () => {
    const seen: number[] = [];
    await carryOver(fitted, test.checkpoint, packed, { onProgress: (fraction) => void seen.push(fraction) });
    expect(seen.at(-1)).toBe(1);
    const signal = AbortSignal.abort();
    await expect(carryOver(fitted, test.checkpoint, packed, { signal })).rejects.toMatchObject({
      code: "aborted",
    });
  });

  it("refuses a copy of another model, and an adapter that changes more", async () => {
    const other = {
      ...packed,
      tensor: (name: string) => packed.tensor(name.replace(/layers\.\d/, "layers.2")),
    };
    await expect(carryOver(fitted, test.checkpoint, other)).rejects.toMatchObject({
      code: "wrong_base_model",
      message: expect.stringMatching(
        /"model\.layers\.0\..*" differs by more than scales, \d+ % of its size$/,
      ),
    });
    const scales = new Map([["model.layers.0.self_attn.q_proj", Float32Array.of(1)]]);
    const more = { ...fitted, changes: { ...fitted.changes, scales } };
    await expect(carryOver(more, test.checkpoint, packed)).rejects.toMatchObject({
      code: "unsupported_adapter",
    });
  });
});
