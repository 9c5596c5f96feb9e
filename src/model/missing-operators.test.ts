/** A device is asked for each operator that computes with activations, and what it lacks is named. */
import onnxProto from "onnx-proto";
import { expect, it } from "vitest";
import type { TensorRuntime } from "../base/platform.ts";
import { goldenHfFolder } from "../../test/support/golden-hf.ts";
import { nodeFileTree, nodePlatform } from "../platform/node.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { CausalLm } from "./causal-lm.ts";

/** The processor, which says that it is a device without some operators. */
function deviceWithout(...missing: string[]): TensorRuntime & { readonly asked: string[]; sessions: number } {
  const { tensors } = nodePlatform();
  const device = {
    device: "cuda" as const,
    asked: [] as string[],
    sessions: 0,
    async runsOnDevice({ bytes }: { bytes: Uint8Array }) {
      const { graph } = onnxProto.onnx.ModelProto.decode(bytes);
      const [{ opType }] = graph!.node as [{ opType: string }];
      device.asked.push(opType);
      return !missing.includes(opType);
    },
    async createSession(...args: Parameters<TensorRuntime["createSession"]>) {
      device.sessions++;
      return await tensors.createSession(...args);
    },
  };
  return device;
}

const load = async (runtime: TensorRuntime) =>
  await CausalLm.load(await openCheckpoint(nodeFileTree(goldenHfFolder("tiny/qwen3_moe"))), runtime);

it("names all that are missing, before a session is made", async () => {
  const runtime = deviceWithout("SkipSimplifiedLayerNormalization", "GroupQueryAttention");
  await expect(load(runtime)).rejects.toMatchObject({
    code: "unsupported_model",
    message: "cuda can't run this model: it has no GroupQueryAttention, SkipSimplifiedLayerNormalization",
    hint: expect.stringMatching(/--device cpu/),
  });
  expect(runtime.sessions).toBe(0);
});

it("does not ask for what works with indices, nor for rows that the processor looks up", async () => {
  const runtime = deviceWithout("OneHot", "Shape");
  await (await load(runtime)).dispose();
  expect(runtime.asked).toContain("MatMul");
  expect(runtime.asked).not.toContain("FusedMatMul");
  expect(runtime.asked).not.toContain("OneHot");
});
