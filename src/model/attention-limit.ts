/** How many tokens at a time a device attends to as it should. */
import { TacetError } from "../base/errors.ts";
import type { OnnxModel, Tensor, TensorRuntime } from "../base/platform.ts";
import { CONTRIB, OnnxGraph } from "./graph/onnx-graph.ts";
import type { CacheShape, KeysAndValues } from "./graph/pass-values.ts";

/** ONNX Runtime's WebGPU attention has a kernel for 32 tokens and more, and another for fewer. */
const FEW = 31;
const MANY = 64;
const HEADS_PER_KEY = 2;
const MOST_ERROR = 1e-3;

/**
 * The most tokens that a pass may have, undefined for any number.
 *
 * The kernel for many tokens wants 8 lanes and more in a GPU's subgroup. On a software adapter, which may have 4, ONNX
 * Runtime 1.30 takes it all the same, and attention is wrong without an error. So the operator is run once and held to the
 * processor's.
 *
 * @throws TacetError unsupported_model where few tokens are wrong too
 */
export async function attentionLimit(
  runtime: TensorRuntime,
  { layers }: Pick<CacheShape, "layers">,
): Promise<number | undefined> {
  const shape = layers.find((layer) => layer !== null && "kvHeads" in layer) as KeysAndValues | undefined;
  if (shape === undefined || (runtime.device ?? "cpu") === "cpu") return undefined;
  const model = attentionOf(shape);
  for (const tokens of [MANY, FEW]) {
    const feeds = feedsOf(shape, tokens);
    const [got, want] = [
      await runOnce(runtime, model, feeds, false),
      await runOnce(runtime, model, feeds, true),
    ];
    const worst = got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i])), 0);
    if (worst < MOST_ERROR) return tokens === MANY ? undefined : tokens;
  }
  throw new TacetError("unsupported_model", `${runtime.device} attends otherwise here than the processor`, {
    hint: "run the model on the processor: --device cpu (option device)",
  });
}

function attentionOf({ kvHeads, headDim }: KeysAndValues): OnnxModel {
  const graph = new OnnxGraph("attention");
  const [heads, width] = [HEADS_PER_KEY * kvHeads, kvHeads * headDim];
  const cache = [1, kvHeads, "capacity", headDim];
  const inputs = [
    { name: "q", type: "float32", dims: [1, "tokens", heads * headDim] },
    { name: "k", type: "float32", dims: [1, "tokens", width] },
    { name: "v", type: "float32", dims: [1, "tokens", width] },
    { name: "past.key", type: "float32", dims: cache },
    { name: "past.value", type: "float32", dims: cache },
    { name: "last", type: "int32", dims: [1] },
    { name: "total", type: "int32", dims: [1] },
  ] as const;
  for (const input of inputs) graph.input(input);
  graph.node(
    "GroupQueryAttention",
    inputs.map(({ name }) => name),
    ["y", "present.key", "present.value"],
    { domain: CONTRIB, attributes: { num_heads: heads, kv_num_heads: kvHeads } },
  );
  graph.output({ name: "y", type: "float32", dims: [1, "tokens", heads * headDim] });
  return graph.encode();
}

function feedsOf({ kvHeads, headDim }: KeysAndValues, tokens: number): Record<string, Tensor> {
  const numbers = (width: number, factor: number): Tensor => ({
    type: "float32",
    dims: [1, tokens, width],
    data: Float32Array.from({ length: tokens * width }, (_, i) => Math.sin(factor * (i % 9973) ** 2)),
  });
  const number = (value: number): Tensor => ({ type: "int32", dims: [1], data: Int32Array.of(value) });
  const width = kvHeads * headDim;
  const empty: Tensor = { type: "float32", dims: [1, kvHeads, 1, headDim], data: new Float32Array(width) };
  return {
    q: numbers(HEADS_PER_KEY * width, 0.7),
    k: numbers(width, 1.3),
    v: numbers(width, 0.9),
    "past.key": empty,
    "past.value": empty,
    last: number(tokens - 1),
    total: number(tokens),
  };
}

async function runOnce(
  runtime: TensorRuntime,
  model: OnnxModel,
  feeds: Readonly<Record<string, Tensor>>,
  onHost: boolean,
): Promise<Float32Array> {
  const session = await runtime.createSession(model, { onHost });
  try {
    return (await session.run(feeds)).y.data as Float32Array;
  } finally {
    await session.dispose();
  }
}
