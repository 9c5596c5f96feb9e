/** A small GPT-2, its heads not of a multiple of 16. */
import type { Weights } from "../oracle/decoder-math.ts";
import type { Shapes } from "./small-models.ts";

export const GPT2 = {
  architectures: ["GPT2LMHeadModel"],
  n_embd: 36,
  n_head: 3,
  n_layer: 2,
  n_positions: 12,
  n_inner: null as number | null,
  vocab_size: 50,
  layer_norm_epsilon: 1e-5,
  activation_function: "gelu_new",
  scale_attn_weights: true,
  scale_attn_by_inverse_layer_idx: false,
  tie_word_embeddings: true,
};
export function gpt2Shapes(config: typeof GPT2): Shapes {
  const { n_embd: width, vocab_size: vocab } = config;
  const inner = config.n_inner ?? 4 * width;
  const shapes: Record<string, readonly number[]> = {
    "transformer.wte.weight": [vocab, width],
    "transformer.wpe.weight": [config.n_positions, width],
    "transformer.ln_f.weight": [width],
    "transformer.ln_f.bias": [width],
  };
  if (!config.tie_word_embeddings) shapes["lm_head.weight"] = [vocab, width];
  for (let n = 0; n < config.n_layer; n++) {
    const conv1d = (name: string, from: number, to: number) => {
      shapes[`transformer.h.${n}.${name}.weight`] = [from, to];
      shapes[`transformer.h.${n}.${name}.bias`] = [to];
    };
    for (const norm of ["ln_1", "ln_2"]) {
      for (const part of ["weight", "bias"]) shapes[`transformer.h.${n}.${norm}.${part}`] = [width];
    }
    conv1d("attn.c_attn", width, 3 * width);
    conv1d("attn.c_proj", width, width);
    conv1d("mlp.c_fc", width, inner);
    conv1d("mlp.c_proj", inner, width);
  }
  return shapes;
}

/** As OpenAI's release is: names without "transformer.", and the causal mask among the tensors. */
export function asReleased(weights: Weights): Weights {
  const bare = [...weights].map(([name, weight]) => [name.replace(/^transformer\./, ""), weight] as const);
  return new Map([
    ...bare,
    ["h.0.attn.bias", { shape: [1, 1, 12, 12], data: new Float32Array(144).fill(1) }],
    ["h.0.attn.masked_bias", { shape: [], data: Float32Array.of(-1e4) }],
  ]);
}
