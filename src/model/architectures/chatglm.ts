/**
 * ChatGLM2 and ChatGLM3: one product for q, k and v, one for gate and up, neighbouring entries of each head's first
 * half turned.
 *
 * The buffer `transformer.rotary_pos_emb.inv_freq` of released files is not read: it holds nothing that the
 * configuration does not give, and is rounded in 16-bit files.
 * Source: modeling_chatglm.py beside the released checkpoints.
 */

import type { PassInputs } from "../graph/pass-values.ts";
import type { Value } from "../graph/onnx-graph.ts";
import { addThenLinear } from "../graph/blocks/add-then-linear.ts";
import { CachedAttention } from "../graph/blocks/attention.ts";
import { embedTokens } from "../graph/blocks/embedding.ts";
import { gatedSilu } from "../graph/blocks/gated-mlp.ts";
import { cachedHeadDim } from "../graph/blocks/head-padding.ts";
import { logits } from "../graph/blocks/logits.ts";
import { reshape } from "../graph/blocks/reshape.ts";
import { addRmsNorm, type RmsNorm, rmsNorm } from "../graph/blocks/rms-norm.ts";
import { embeddingPlace, headPlace, type LinearPlace } from "../graph/linear-place.ts";
import type { SegmentBuilder } from "../graph/segment-builder.ts";
import type { Architecture } from "./architecture.ts";
import { type ChatGlmConfig, parseChatGlmConfig } from "./chatglm-config.ts";

/** Released files name their base class; a file saved from the language model names that. */
const NAMES = ["ChatGLMModel", "ChatGLMForConditionalGeneration"] as const;

export const chatGlm = NAMES.map(
  (name): Architecture<ChatGlmConfig> => ({
    name,
    modelType: "chatglm",
    parseConfig: parseChatGlmConfig,
    cacheShape: ({ layers, kvHeads, headDim }) => ({ layers, kvHeads, headDim: cachedHeadDim(headDim) }),
    linearPlaces,
    write,
  }),
);

const layerName = (layer: number): string => `transformer.encoder.layers.${layer}`;

function linearPlaces(config: ChatGlmConfig): LinearPlace[] {
  const { layers, hiddenSize, heads, kvHeads, headDim, mlpSize, vocabSize, bias } = config;
  const inLayers = Array.from({ length: layers }, (_, layer) => {
    const place = (module: string, inFeatures: number, outFeatures: number, bias: boolean): LinearPlace => ({
      layer,
      modules: [`${layerName(layer)}.${module}`],
      inFeatures,
      outFeatures: [outFeatures],
      bias,
    });
    return [
      place("self_attention.query_key_value", hiddenSize, (heads + 2 * kvHeads) * headDim, bias.qkv),
      place("self_attention.dense", heads * headDim, hiddenSize, bias.others),
      place("mlp.dense_h_to_4h", hiddenSize, 2 * mlpSize, bias.others),
      place("mlp.dense_4h_to_h", mlpSize, hiddenSize, bias.others),
    ];
  });
  return [
    embeddingPlace("transformer.embedding.word_embeddings", vocabSize, hiddenSize),
    ...inLayers.flat(),
    headPlace("transformer.output_layer", layers, [vocabSize, hiddenSize]),
  ];
}

/**
 * h = embed(ids); each layer: h += dense(attention(qkv of norm(h))), h += down(silu(gate)·up of norm(h));
 * logits = head(norm(h)).
 */
function write(
  builder: SegmentBuilder,
  config: ChatGlmConfig,
  [embedding, ...places]: readonly LinearPlace[],
  given: PassInputs,
): Value {
  const { layers, heads, kvHeads, headDim, hiddenSize, rope } = config;
  const norm = (name: string): RmsNorm => ({
    weight: `${name}.weight`,
    width: hiddenSize,
    epsilon: config.normEpsilon,
  });
  const rotary = { rope, dims: headDim / 2, pairs: "neighbours" } as const;
  const attention = new CachedAttention(builder, given, { heads, kvHeads, headDim, rotary });
  let residual = embedTokens(builder, embedding, given.ids);
  /** What `second` makes of norm(residual + first·x); the residual goes on from there. */
  const addThen = (first: LinearPlace, x: Value, name: string, second: LinearPlace): Value => {
    if (!config.residualAfterNorm) {
      const [y, sum] = addThenLinear(builder, residual, { place: first, x }, norm(name), second);
      residual = sum;
      return y;
    }
    [residual] = addRmsNorm(builder, residual, builder.linear(first, x), norm(name));
    return builder.linear(second, residual);
  };
  let x = rmsNorm(builder, residual, norm(`${layerName(0)}.input_layernorm`));
  if (config.residualAfterNorm) residual = x;
  let fused = builder.linear(places[0], x);
  for (let layer = 0; layer < layers; layer++) {
    const [, dense, gateUp, down, next] = places.slice(4 * layer, 4 * layer + 5);
    const attended = attention.attend(layer, orderQkv(builder, config, fused));
    const gated = addThen(dense, attended, `${layerName(layer)}.post_attention_layernorm`, gateUp);
    const inner = gatedSilu(builder, gated, config.mlpSize);
    if (layer + 1 < layers) {
      fused = addThen(down, inner, `${layerName(layer + 1)}.input_layernorm`, next);
      continue;
    }
    const mlp = builder.linear(down, inner);
    const last = norm("transformer.encoder.final_layernorm");
    if (config.finalNorm) [x] = addRmsNorm(builder, residual, mlp, last);
    else [x] = builder.node("Add", [residual, mlp], [{ dims: mlp.dims }]);
  }
  return logits(builder, places[4 * layers], x, given.firstRow);
}

/** [q | k | v] side by side, (1, tokens, width) as it was. */
function orderQkv(builder: SegmentBuilder, { qkvOrder, heads, headDim }: ChatGlmConfig, qkv: Value): Value {
  if (qkvOrder === "parts") return qkv;
  const byHead = reshape(builder, qkv, [1, "tokens", heads, 3, headDim]);
  const spec = { dims: [1, "tokens", 3, heads, headDim] };
  const [byPart] = builder.node("Transpose", [byHead], [spec], { attributes: { perm: [0, 1, 3, 2, 4] } });
  return reshape(builder, byPart, [1, "tokens", 3 * heads * headDim]);
}
