/**
 * GPT-2: learned positions, layer norms with biases, one product for q, k and v, an MLP without a gate.
 *
 * Linear modules are Conv1D: weights (in, out). The file may leave "transformer." out (weights/checkpoint.ts); its
 * buffers `attn.bias` and `attn.masked_bias` are the causal mask, and are not read.
 * Source: transformers, models/gpt2/modeling_gpt2.py.
 */

import type { PassInputs } from "../graph/pass-values.ts";
import type { Value } from "../graph/onnx-graph.ts";
import { activate } from "../graph/blocks/activation.ts";
import { CachedAttention } from "../graph/blocks/attention.ts";
import { embed } from "../graph/blocks/embedding.ts";
import { cachedHeadDim } from "../graph/blocks/head-padding.ts";
import { addLayerNorm, type LayerNorm, layerNorm } from "../graph/blocks/layer-norm.ts";
import { logits } from "../graph/blocks/logits.ts";
import { reshape } from "../graph/blocks/reshape.ts";
import type { LinearPlace } from "../graph/linear-place.ts";
import type { SegmentBuilder } from "../graph/segment-builder.ts";
import type { Architecture } from "./architecture.ts";
import { type Gpt2Config, parseGpt2Config } from "./gpt2-config.ts";

export const gpt2: Architecture<Gpt2Config> = {
  name: "GPT2LMHeadModel",
  modelType: "gpt2",
  parseConfig: parseGpt2Config,
  cacheShape: ({ layers, heads, headDim }) => ({ layers, kvHeads: heads, headDim: cachedHeadDim(headDim) }),
  linearPlaces,
  write,
};

function linearPlaces({ layers, hiddenSize, mlpSize }: Gpt2Config): LinearPlace[] {
  return Array.from({ length: layers }, (_, layer) => {
    const place = (module: string, inFeatures: number, outFeatures: number): LinearPlace => ({
      layer,
      modules: [`transformer.h.${layer}.${module}`],
      inFeatures,
      outFeatures: [outFeatures],
      bias: true,
      storedInOut: true,
    });
    return [
      place("attn.c_attn", hiddenSize, 3 * hiddenSize),
      place("attn.c_proj", hiddenSize, hiddenSize),
      place("mlp.c_fc", hiddenSize, mlpSize),
      place("mlp.c_proj", mlpSize, hiddenSize),
    ];
  }).flat();
}

/**
 * h = embed(ids) + embed(positions); each layer: h += proj(attention(qkv of norm(h))), h += proj(act(fc(norm(h))));
 * logits = head(norm(h)).
 */
function write(
  builder: SegmentBuilder,
  config: Gpt2Config,
  places: readonly LinearPlace[],
  given: PassInputs,
): Value {
  const { layers, heads, headDim, hiddenSize, vocabSize, scaleByWidth, scaleByLayer } = config;
  const norm = (name: string): LayerNorm => ({
    name: `transformer.${name}`,
    width: hiddenSize,
    epsilon: config.normEpsilon,
  });
  const scale = (layer: number) =>
    (scaleByWidth ? 1 / Math.sqrt(headDim) : 1) / (scaleByLayer ? layer + 1 : 1);
  const attention = new CachedAttention(builder, given, { heads, kvHeads: heads, headDim, scale });
  const words = embed(builder, "transformer.wte.weight", [vocabSize, hiddenSize], given.ids);
  const table = [config.trainedContext, hiddenSize] as const;
  const placed = embed(builder, "transformer.wpe.weight", table, positions(builder, given));
  let [residual] = builder.node("Add", [words, placed], [{ dims: words.dims }]);
  let x = layerNorm(builder, residual, norm("h.0.ln_1"));
  for (let layer = 0; layer < layers; layer++) {
    const [qkv, projection, widen, narrow] = places.slice(4 * layer, 4 * layer + 4);
    const attended = attention.attend(layer, builder.linear(qkv, x));
    [x, residual] = addLayerNorm(
      builder,
      residual,
      builder.linear(projection, attended),
      norm(`h.${layer}.ln_2`),
    );
    const inner = activate(builder, builder.linear(widen, x), config.activation);
    const next = layer + 1 < layers ? `h.${layer + 1}.ln_1` : "ln_f";
    [x, residual] = addLayerNorm(builder, residual, builder.linear(narrow, inner), norm(next));
  }
  const head = config.tiedHead ? "transformer.wte.weight" : "lm_head.weight";
  return logits(builder, x, given.firstRow, head, [vocabSize, hiddenSize]);
}

/** past, past + 1, …, total - 1: (1, tokens) int32 */
function positions(builder: SegmentBuilder, { past, total }: PassInputs): Value {
  const spec = { dims: [], type: "int32" } as const;
  const [start] = builder.node("Squeeze", [past], [spec]);
  const [end] = builder.node("Squeeze", [total], [spec]);
  const one = builder.graph.constant([], Int32Array.of(1));
  const [range] = builder.node("Range", [start, end, one], [{ dims: ["tokens"], type: "int32" }]);
  return reshape(builder, range, [1, "tokens"]);
}
