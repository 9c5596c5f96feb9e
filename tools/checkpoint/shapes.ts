/** Sizes of models: the named shapes, and config.json as Hugging Face writes it for each family. */

export const FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "chatglm2", "gpt2"] as const;
export type Family = (typeof FAMILIES)[number];

export interface Shape {
  readonly family: Family;
  readonly layers: number;
  readonly hidden: number;
  readonly ffn: number;
  readonly heads: number;
  /** GPT-2 has as many as heads. */
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocab: number;
  readonly context: number;
  readonly epsilon: number;
  readonly ropeTheta: number;
  readonly tied: boolean;
}

/** Odd widths on purpose, so that mixed-up axes show; heads·headDim is the hidden size only where it must be. */
const TINY: Omit<Shape, "family"> = {
  layers: 2,
  hidden: 72,
  ffn: 104,
  heads: 6,
  kvHeads: 2,
  headDim: 16,
  vocab: 270,
  context: 256,
  epsilon: 1e-5,
  ropeTheta: 10_000,
  tied: false,
};

const TINY_OF: Readonly<Record<Family, Partial<Shape>>> = {
  llama: { headDim: 12 },
  qwen2: { headDim: 12, ropeTheta: 1e6, epsilon: 1e-6, tied: true },
  qwen3: { ropeTheta: 1e6, epsilon: 1e-6, tied: true },
  mistral: { kvHeads: 3 },
  chatglm2: { hidden: 96 },
  gpt2: { headDim: 12, ffn: 4 * 72, tied: true },
};

/** Of published models. */
const PUBLISHED = {
  "chatglm2-6b": {
    family: "chatglm2",
    layers: 28,
    hidden: 4096,
    ffn: 13_696,
    heads: 32,
    kvHeads: 2,
    headDim: 128,
    vocab: 65_024,
    context: 32_768,
    epsilon: 1e-5,
    ropeTheta: 10_000,
    tied: false,
  },
  "qwen2.5-0.5b": {
    family: "qwen2",
    layers: 24,
    hidden: 896,
    ffn: 4864,
    heads: 14,
    kvHeads: 2,
    headDim: 64,
    vocab: 151_936,
    context: 32_768,
    epsilon: 1e-6,
    ropeTheta: 1e6,
    tied: true,
  },
  "llama-3.2-1b": {
    family: "llama",
    layers: 16,
    hidden: 2048,
    ffn: 8192,
    heads: 32,
    kvHeads: 8,
    headDim: 64,
    vocab: 128_256,
    context: 131_072,
    epsilon: 1e-5,
    ropeTheta: 500_000,
    tied: true,
  },
} as const satisfies Record<string, Shape>;

export const SHAPE_NAMES = ["tiny", ...Object.keys(PUBLISHED)];

/**
 * @param family for `tiny`, which exists for each; the published shapes have theirs
 * @throws RangeError for an unknown name, or a family that the shape does not have
 */
export function shapeOf(name: string, options: { family?: string; layers?: number } = {}): Shape {
  const shape = namedShape(name, options.family);
  const layers = options.layers ?? shape.layers;
  if (!Number.isInteger(layers) || layers < 1) throw new RangeError("the number of layers must be positive");
  return { ...shape, layers };
}

function namedShape(name: string, family: string | undefined): Shape {
  if (name === "tiny") {
    const known = FAMILIES.find((each) => each === (family ?? "llama"));
    if (known === undefined)
      throw new RangeError(`unknown family ${family}, not one of ${FAMILIES.join(", ")}`);
    return { ...TINY, ...TINY_OF[known], family: known };
  }
  if (!Object.hasOwn(PUBLISHED, name))
    throw new RangeError(`unknown shape ${name}, not one of ${SHAPE_NAMES.join(", ")}`);
  const shape: Shape = PUBLISHED[name as keyof typeof PUBLISHED];
  if (family !== undefined && family !== shape.family)
    throw new RangeError(`${name} belongs to the family ${shape.family}`);
  return shape;
}

/** config.json. @param torchDtype "float16", … */
export function configOf(shape: Shape, torchDtype: string): Record<string, unknown> {
  const common = { torch_dtype: torchDtype, transformers_version: "4.44.0", use_cache: true };
  if (shape.family === "chatglm2") return { ...chatglm2Config(shape), ...common };
  if (shape.family === "gpt2") return { ...gpt2Config(shape), ...common };
  return { ...llamaLikeConfig(shape), ...common };
}

const CLASS_NAMES = {
  llama: "LlamaForCausalLM",
  qwen2: "Qwen2ForCausalLM",
  qwen3: "Qwen3ForCausalLM",
  mistral: "MistralForCausalLM",
};

function llamaLikeConfig(shape: Shape): Record<string, unknown> {
  const family = shape.family as keyof typeof CLASS_NAMES;
  const own: Record<keyof typeof CLASS_NAMES, Record<string, unknown>> = {
    llama: { attention_bias: false, mlp_bias: false, rope_scaling: null },
    qwen2: { use_sliding_window: false, sliding_window: shape.context, max_window_layers: shape.layers },
    qwen3: {
      attention_bias: false,
      head_dim: shape.headDim,
      max_window_layers: shape.layers,
      rope_scaling: null,
      sliding_window: null,
      use_sliding_window: false,
    },
    mistral: { head_dim: shape.headDim, sliding_window: null },
  };
  return {
    architectures: [CLASS_NAMES[family]],
    model_type: family,
    attention_dropout: 0,
    bos_token_id: 1,
    eos_token_id: 2,
    hidden_act: "silu",
    hidden_size: shape.hidden,
    initializer_range: 0.02,
    intermediate_size: shape.ffn,
    max_position_embeddings: shape.context,
    num_attention_heads: shape.heads,
    num_hidden_layers: shape.layers,
    num_key_value_heads: shape.kvHeads,
    rms_norm_eps: shape.epsilon,
    rope_theta: shape.ropeTheta,
    tie_word_embeddings: shape.tied,
    vocab_size: shape.vocab,
    ...own[family],
  };
}

function chatglm2Config(shape: Shape): Record<string, unknown> {
  return {
    architectures: ["ChatGLMModel"],
    model_type: "chatglm",
    add_bias_linear: false,
    add_qkv_bias: true,
    apply_query_key_layer_scaling: true,
    apply_residual_connection_post_layernorm: false,
    attention_dropout: 0,
    attention_softmax_in_fp32: true,
    bias_dropout_fusion: true,
    eos_token_id: 2,
    ffn_hidden_size: shape.ffn,
    fp32_residual_connection: false,
    hidden_dropout: 0,
    hidden_size: shape.hidden,
    kv_channels: shape.headDim,
    layernorm_epsilon: shape.epsilon,
    multi_query_attention: true,
    multi_query_group_num: shape.kvHeads,
    num_attention_heads: shape.heads,
    num_layers: shape.layers,
    original_rope: true,
    pad_token_id: 0,
    padded_vocab_size: shape.vocab,
    post_layer_norm: true,
    quantization_bit: 0,
    rmsnorm: true,
    seq_length: shape.context,
    tie_word_embeddings: false,
  };
}

function gpt2Config(shape: Shape): Record<string, unknown> {
  return {
    architectures: ["GPT2LMHeadModel"],
    model_type: "gpt2",
    activation_function: "gelu_new",
    attn_pdrop: 0.1,
    bos_token_id: 0,
    embd_pdrop: 0.1,
    eos_token_id: 0,
    initializer_range: 0.02,
    layer_norm_epsilon: shape.epsilon,
    n_ctx: shape.context,
    n_embd: shape.hidden,
    n_head: shape.heads,
    n_inner: shape.ffn === 4 * shape.hidden ? null : shape.ffn,
    n_layer: shape.layers,
    n_positions: shape.context,
    reorder_and_upcast_attn: false,
    resid_pdrop: 0.1,
    scale_attn_by_inverse_layer_idx: false,
    scale_attn_weights: true,
    tie_word_embeddings: true,
    vocab_size: shape.vocab,
  };
}
