import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import type { TensorRuntime } from "../base/platform.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { CausalLm } from "./causal-lm.ts";
import { memoryNeed } from "./memory-need.ts";
import { passDemand } from "./pass-demand.ts";
import type { WeightDemand } from "./weights/weight-demand.ts";
import type { Matrix } from "./weights/weight-source.ts";

const LLAMA = fileURLToPath(new URL("../../test/fixtures/golden/llama-f32", import.meta.url));
const cacheShape = { layers: Array(28).fill({ kvHeads: 2, headDim: 128 }), maxTokens: 4096 };
const matrix = (outFeatures: number[], inFeatures: number, isHead = false): Matrix => ({
  tensors: ["w"],
  outFeatures,
  inFeatures,
  isHead,
});
const placed = { dtype: "F32", path: "", offset: 0 } as const;
const demand: WeightDemand = {
  matrices: [matrix([64, 32], 96), matrix([192], 96), matrix([100], 64, true)].map((each) => ({
    matrix: each,
    form: undefined,
    parts: [],
  })),
  isCopied: false,
  tensors: [
    // A norm, and a table that stays in its file.
    { tree: memoryFileTree({}), info: { ...placed, name: "norm", shape: [10], bytes: 40 } },
    { tree: memoryFileTree({}), info: { ...placed, name: "embedding", shape: [100, 64], bytes: 25_600 } },
  ],
};

/** Has this much memory, and must not be asked for a session. */
const runtimeWith = (bytes: number | undefined): TensorRuntime => ({
  availableMemory: async () => bytes,
  createSession: () => expect.unreachable("nothing is loaded"),
});

async function refusalOf(available: number, contextLength = 4096): Promise<TacetError> {
  const checkpoint = await openCheckpoint(nodeFileTree(LLAMA));
  const error = await CausalLm.load(checkpoint, runtimeWith(available), { contextLength }).catch((e) => e);
  expect(error).toBeInstanceOf(TacetError);
  expect(error.code).toBe("out_of_memory");
  return error;
}

describe("memoryNeed", () => {
  it("counts 4 bytes an entry, or codes and 8 bytes for each block; the head has 8 bits with int4 too", () => {
    const [first, second, head] = [96 * 96, 192 * 96, 100 * 64];
    expect(memoryNeed(demand, "original", cacheShape)).toEqual({
      weights: 4 * (first + second + head) + 40,
      rounded: 0,
      loading: 4 * second,
      cache: 2 * 28 * 2 * 128 * 4 * 4096,
    });
    expect(memoryNeed(demand, "int8", cacheShape).weights).toBe(1.25 * (first + second) + 1.125 * head + 40);
    expect(memoryNeed(demand, "int8", cacheShape).rounded).toBe(1.25 * (first + second) + 1.125 * head);
    const int4 = 1.25 * first + 0.75 * second + 1.125 * head + 40;
    expect(memoryNeed(demand, "int4", cacheShape).weights).toBe(int4);
  });
});

describe("a model that will not fit", () => {
  it("is refused with the figures before anything is loaded, and told what would fit", async () => {
    const none = await refusalOf(1000);
    expect(none.message).toMatch(
      /^the model needs [\d.]+ MB of memory, 0\.0 MB are available: [\d.]+ MB for its weights in float32, then [\d.]+ MB for the keys and values of 4096 tokens \([\d.]+ MB more while it is loaded\)$/,
    );
    expect(none.hint).toMatch(/^close other programs/);
    const megabytes = Number(/needs ([\d.]+) MB/.exec(none.message)![1]);

    const format = await refusalOf(megabytes * 1e6 - 1e5);
    expect(format.hint).toMatch(/^--weights int8 \(option weights\) needs [\d.]+ MB$/);
    const shorter = await refusalOf(1.5e6);
    expect(shorter.hint).toMatch(/^--weights int4 and a context of at most \d+ tokens/);
  });

  it("has its rounded weights counted apart where they lie apart", async () => {
    const checkpoint = await openCheckpoint(nodeFileTree(LLAMA));
    const load = async (rounded: number | undefined, available: number, weights: "int8" | "int4") => {
      const runtime = { ...runtimeWith(available), roundedMemory: async () => rounded };
      return (await CausalLm.load(checkpoint, runtime, { weights }).catch((e) => e)) as TacetError;
    };
    const refused = await load(1000, 1e9, "int8");
    expect(refused.code).toBe("out_of_memory");
    expect(refused.message).toMatch(/^int8 weights take [\d.]+ MB of memory, 0\.0 MB are available$/);
    expect(refused.hint).toMatch(/^take a smaller model/);
    const { rounded: bytes } = memoryNeed(passDemand(checkpoint, "int8"), "int8", cacheShape);
    expect((await load(bytes - 1, 1e9, "int8")).hint).toMatch(/^--weights int4 .* needs [\d.]+ MB$/);
    // They are not asked of the rest; what is there now is a load, which has no cache here.
    expect((await load(undefined, 1000, "int8")).message).toMatch(
      /^the model needs .* 0\.0 MB are available/,
    );
    for (const rounded of [1e9, undefined]) {
      expect((await load(rounded, 1e9, "int4")).message).toMatch(/need a weightCache$/);
    }
  });

  it("is not refused where nobody knows the memory", async () => {
    const checkpoint = await openCheckpoint(nodeFileTree(LLAMA));
    const { createSession } = nodeTensorRuntime();
    const model = await CausalLm.load(checkpoint, { createSession });
    await model.dispose();
  });

  it("is measured against what Node says", async () => {
    const available = await nodeTensorRuntime().availableMemory!();
    expect(available).toBeGreaterThan(1e7);
    expect(available).toBeLessThan(1e14);
  });
});
