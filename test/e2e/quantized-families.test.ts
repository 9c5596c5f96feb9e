/** Quantized weights on every family: fused, stored (in, out), tied and of widths that fill no block. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { WeightFormat } from "../../src/model/weight-source.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { FAMILIES } from "../../tools/checkpoint/shapes.ts";
import { seededModel } from "../support/seeded-models.ts";

const dir = mkdtempSync(join(tmpdir(), "tacet-families-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const weightCache = nodeFileCache(join(dir, "cache"));

async function logitsOf(base: string, weights: WeightFormat): Promise<Float32Array> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { weights, weightCache });
  try {
    return await model.forward([5, 17, 200, 33, 9, 121], model.newCache());
  } finally {
    await model.dispose();
  }
}

function distance(got: Float32Array, want: Float32Array): number {
  const rms = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  return rms(got.map((v, i) => v - want[i])) / rms(want);
}

describe.each(FAMILIES)("%s", (family) => {
  it("int8 is close to the original weights, int4 closer than noise", async () => {
    const { base } = seededModel(dir, family);
    const original = await logitsOf(base, "original");
    expect(distance(await logitsOf(base, "int8"), original)).toBeLessThan(0.05);
    expect(distance(await logitsOf(base, "int4"), original)).toBeLessThan(0.4);
  });
});
