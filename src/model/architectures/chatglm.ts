/**
 * ChatGLM2 and ChatGLM3: one product for q, k and v, one for gate and up, neighbouring entries of each head's first
 * half turned.
 *
 * The buffer `transformer.rotary_pos_emb.inv_freq` of released files is not read: it holds nothing that the
 * configuration does not give, and is rounded in 16-bit files.
 * Source: modeling_chatglm.py beside the released checkpoints.
 */

import { CachedAttention } from "../blocks/attention.ts";
import { embed } from "../blocks/embedding.ts";
import { gatedSilu } from "../blocks/gated-mlp.ts";
import { cachedHeadDim } from "../blocks/head-padding.ts";
import { logits } from "../blocks/logits.ts";
import { reshape } from "../blocks/reshape.ts";
import { addRmsNorm, type RmsNorm, rmsNorm } from "../blocks/rms-norm.ts";
import type { LinearPlace } from "../linear-place.ts";
import type { SegmentBuilder, Value } from "../segment-builder.ts";
import type { Architecture, Given } from "./architecture.ts";
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
  const { layers, hiddenSize, heads, kvHeads, headDim, mlpSize, bias } = config;
  return Array.from({ length: layers }, (_, layer) => {
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
  }).flat();
}

/**
 * h = embed(ids); each layer: h += dense(attention(qkv of norm(h))), h += down(silu(gate)·up of norm(h));
 * logits = head(norm(h)).
 */
function write(
  builder: SegmentBuilder,
  config: ChatGlmConfig,
  places: readonly LinearPlace[],
  given: Given,
): Value {
  const { layers, heads, kvHeads, headDim, hiddenSize, vocabSize, rope } = config;
  const norm = (name: string): RmsNorm => ({
    weight: `${name}.weight`,
    width: hiddenSize,
    epsilon: config.normEpsilon,
  });
  const rotary = { rope, dims: headDim / 2, pairs: "neighbours" } as const;
  const attention = new CachedAttention(builder, given, { heads, kvHeads, headDim, rotary });
  let residual = embed(
    builder,
    "transformer.embedding.word_embeddings.weight",
    [vocabSize, hiddenSize],
    given.ids,
  );
  /** [norm(residual + y), what the next block adds to] */
  const addNorm = (y: Value, name: string): [Value, Value] => {
    const [x, sum] = addRmsNorm(builder, residual, y, norm(name));
    return [x, config.residualAfterNorm ? x : sum];
  };
  let x = rmsNorm(builder, residual, norm(`${layerName(0)}.input_layernorm`));
  if (config.residualAfterNorm) residual = x;
  for (let layer = 0; layer < layers; layer++) {
    const [fused, dense, gateUp, down] = places.slice(4 * layer, 4 * layer + 4);
    const qkv = orderQkv(builder, config, builder.linear(fused, x));
    const attended = builder.linear(dense, attention.attend(layer, qkv));
    [x, residual] = addNorm(attended, `${layerName(layer)}.post_attention_layernorm`);
    const inner = gatedSilu(builder, builder.linear(gateUp, x), config.mlpSize);
    const mlp = builder.linear(down, inner);
    if (layer + 1 < layers) [x, residual] = addNorm(mlp, `${layerName(layer + 1)}.input_layernorm`);
    else if (config.finalNorm) [x] = addNorm(mlp, "transformer.encoder.final_layernorm");
    else [x] = builder.node("Add", [residual, mlp], [{ dims: mlp.dims }]);
  }
  return logits(builder, x, given.firstRow, "transformer.output_layer.weight", [vocabSize, hiddenSize]);
}

/** [q | k | v] side by side, (1, tokens, width) as it was. */
function orderQkv(builder: SegmentBuilder, { qkvOrder, heads, headDim }: ChatGlmConfig, qkv: Value): Value {
  if (qkvOrder === "parts") return qkv;
  const byHead = reshape(builder, qkv, [1, "tokens", heads, 3, headDim]);
  const spec = { dims: [1, "tokens", 3, heads, headDim] };
  const [byPart] = builder.node("Transpose", [byHead], [spec], { attributes: { perm: [0, 1, 3, 2, 4] } });
  return reshape(builder, byPart, [1, "tokens", 3 * heads * headDim]);
}
