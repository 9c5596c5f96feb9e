/** The decoder that Llama made common: RMS norm, rotary attention with grouped heads, gated MLP. */

import type { PassInputs } from "../graph/pass-values.ts";
import type { Value } from "../graph/onnx-graph.ts";
import { addThenLinear } from "../graph/blocks/add-then-linear.ts";
import { CachedAttention } from "../graph/blocks/attention.ts";
import { embedTokens } from "../graph/blocks/embedding.ts";
import { gatedSilu } from "../graph/blocks/gated-mlp.ts";
import { cachedHeadDim } from "../graph/blocks/head-padding.ts";
import { logits } from "../graph/blocks/logits.ts";
import { addRmsNorm, type RmsNorm, rmsNorm, rmsNormHeads } from "../graph/blocks/rms-norm.ts";
import { embeddingPlace, headPlace, type LinearPlace } from "../graph/linear-place.ts";
import type { SegmentBuilder } from "../graph/segment-builder.ts";
import type { Architecture } from "./architecture.ts";
import { type LlamaConfig, type LlamaFamily, parseLlamaConfig } from "./llama-config.ts";

/** @param names as config.json has them */
export function llamaArchitecture(
  names: Pick<Architecture, "name" | "modelType">,
  family: LlamaFamily,
): Architecture<LlamaConfig> {
  return {
    ...names,
    parseConfig: (raw) => parseLlamaConfig(raw, family),
    cacheShape: ({ layers, kvHeads, headDim }) => ({ layers, kvHeads, headDim: cachedHeadDim(headDim) }),
    linearPlaces,
    write,
  };
}

function linearPlaces(config: LlamaConfig): LinearPlace[] {
  const { hiddenSize, mlpSize, headDim, bias } = config;
  const q = config.heads * headDim;
  const kv = config.kvHeads * headDim;
  const { vocabSize, layers } = config;
  const embedding = "model.embed_tokens";
  const inLayers = Array.from({ length: layers }, (_, layer) => {
    const place = (
      block: string,
      modules: string[],
      inFeatures: number,
      outFeatures: number[],
      bias: boolean,
    ): LinearPlace => ({
      layer,
      modules: modules.map((name) => `model.layers.${layer}.${block}.${name}`),
      inFeatures,
      outFeatures,
      bias,
    });
    return [
      place("self_attn", ["q_proj", "k_proj", "v_proj"], hiddenSize, [q, kv, kv], bias.qkv),
      place("self_attn", ["o_proj"], q, [hiddenSize], bias.attentionOut),
      place("mlp", ["gate_proj", "up_proj"], hiddenSize, [mlpSize, mlpSize], bias.mlp),
      place("mlp", ["down_proj"], mlpSize, [hiddenSize], bias.mlp),
    ];
  });
  return [
    embeddingPlace(embedding, vocabSize, hiddenSize),
    ...inLayers.flat(),
    headPlace("lm_head", layers, [vocabSize, hiddenSize], config.tiedHead ? embedding : undefined),
  ];
}

/**
 * h = embed(ids); each layer: h += o(attention(q, k, v of norm(h))), h += down(silu(gate)·up of norm(h));
 * logits = head(norm(h)).
 */
function write(
  builder: SegmentBuilder,
  config: LlamaConfig,
  [embedding, ...places]: readonly LinearPlace[],
  given: PassInputs,
): Value {
  const { layers, hiddenSize, mlpSize, headDim } = config;
  const rotary = { rope: config.rope, dims: headDim, pairs: "halves" } as const;
  const attention = new CachedAttention(builder, given, { ...config, rotary });
  const norm = (name: string): RmsNorm => ({
    weight: `${name}.weight`,
    width: hiddenSize,
    epsilon: config.normEpsilon,
  });
  let residual = embedTokens(builder, embedding, given.ids);
  let qkv = builder.linear(places[0], rmsNorm(builder, residual, norm("model.layers.0.input_layernorm")));
  let x: Value | undefined;
  for (let layer = 0; layer < layers; layer++) {
    const [, out, gateUp, down, nextQkv] = places.slice(4 * layer, 4 * layer + 5);
    const parts = config.normedHeads ? normQueriesAndKeys(builder, config, layer, qkv) : qkv;
    const window = config.window?.layers.includes(layer) ? config.window.tokens : undefined;
    const attended = { place: out, x: attention.attend(layer, parts, window) };
    const afterAttention = norm(`model.layers.${layer}.post_attention_layernorm`);
    let inner: Value;
    [inner, residual] = addThenLinear(builder, residual, attended, afterAttention, gateUp);
    const mlp = { place: down, x: gatedSilu(builder, inner, mlpSize) };
    if (nextQkv && layer + 1 < layers) {
      const next = norm(`model.layers.${layer + 1}.input_layernorm`);
      [qkv, residual] = addThenLinear(builder, residual, mlp, next, nextQkv);
    } else [x] = addRmsNorm(builder, residual, builder.linear(mlp.place, mlp.x), norm("model.norm"));
  }
  return logits(builder, places[4 * layers], x!, given.firstRow);
}

/** [q | k | v] apart, every head of q and of k normed. */
function normQueriesAndKeys(
  builder: SegmentBuilder,
  { heads, kvHeads, headDim, normEpsilon }: LlamaConfig,
  layer: number,
  joined: Value,
): [Value, Value, Value] {
  const widths = [heads, kvHeads, kvHeads].map((count) => count * headDim);
  const sizes = builder.graph.constant([3], BigInt64Array.from(widths, BigInt));
  const [q, k, v] = builder.node(
    "Split",
    [joined, sizes],
    widths.map((width) => ({ dims: [1, "tokens", width] })),
    { attributes: { axis: -1 } },
  );
  const norm = (name: string): RmsNorm => ({
    weight: `model.layers.${layer}.self_attn.${name}.weight`,
    width: headDim,
    epsilon: normEpsilon,
  });
  return [
    rmsNormHeads(builder, q, heads, norm("q_norm")),
    rmsNormHeads(builder, k, kvHeads, norm("k_norm")),
    v,
  ];
}
