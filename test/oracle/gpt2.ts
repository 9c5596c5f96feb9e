/** GPT-2 from the definition: transformers' modeling_gpt2.py, read line by line. */
import {
  add,
  causalAttention,
  erf,
  layerNorm,
  linear,
  lookUp,
  type OracleLora,
  type Rows,
  silu,
  tensorOf,
  type Weights,
} from "./decoder-math.ts";

/** As config.json has it. */
export interface Gpt2Fields {
  readonly n_embd: number;
  readonly n_head: number;
  readonly n_layer: number;
  readonly layer_norm_epsilon: number;
  readonly activation_function: string;
  readonly scale_attn_weights: boolean;
  readonly scale_attn_by_inverse_layer_idx: boolean;
  readonly tie_word_embeddings: boolean;
}

const tanhGelu = (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

const ACTIVATIONS: Readonly<Record<string, (x: number) => number>> = {
  gelu: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  quick_gelu: (x) => x / (1 + Math.exp(-1.702 * x)),
  relu: (x) => Math.max(0, x),
  relu2: (x) => Math.max(0, x) ** 2,
  silu,
  swish: silu,
  tanh: Math.tanh,
};

export function gpt2Forward(
  config: Gpt2Fields,
  weights: Weights,
  ids: readonly number[],
  loras: ReadonlyMap<string, OracleLora> = new Map(),
): { hiddenLast: Float64Array[]; logits: Rows } {
  const { n_embd: width, n_head: heads, layer_norm_epsilon: epsilon } = config;
  const headDim = width / heads;
  const act = ACTIVATIONS[config.activation_function];
  const conv1d = (module: string, x: Rows) =>
    linear(weights, module, x, { bias: true, stored: "in-out", lora: loras.get(module) });
  const norm = (x: Rows, name: string) =>
    layerNorm(x, tensorOf(weights, `${name}.weight`), tensorOf(weights, `${name}.bias`), epsilon);

  let hidden: Rows = add(
    lookUp(tensorOf(weights, "transformer.wte.weight"), ids),
    lookUp(tensorOf(weights, "transformer.wpe.weight"), [...ids.keys()]),
  );
  const hiddenLast = [hidden.at(-1)!];
  for (let n = 0; n < config.n_layer; n++) {
    const block = `transformer.h.${n}`;
    const qkv = conv1d(`${block}.attn.c_attn`, norm(hidden, `${block}.ln_1`));
    const part = (i: number) => qkv.map((row) => row.subarray(i * width, (i + 1) * width));
    let scale = config.scale_attn_weights ? headDim ** -0.5 : 1;
    if (config.scale_attn_by_inverse_layer_idx) scale /= n + 1;
    const context = causalAttention([part(0), part(1), part(2)], { heads, kvHeads: heads, headDim, scale });
    hidden = add(hidden, conv1d(`${block}.attn.c_proj`, context));
    const inner = conv1d(`${block}.mlp.c_fc`, norm(hidden, `${block}.ln_2`)).map((row) => row.map(act));
    hidden = add(hidden, conv1d(`${block}.mlp.c_proj`, inner));
    hiddenLast.push(hidden.at(-1)!);
  }
  const head = config.tie_word_embeddings ? "transformer.wte" : "lm_head";
  return { hiddenLast, logits: linear(weights, head, norm(hidden, "transformer.ln_f")) };
}
