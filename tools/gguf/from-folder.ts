/**
 * A checkpoint of the Hugging Face layout as a GGUF file, as llama.cpp's converter would write it: for the tests, which have
 * small checkpoints of many families. The names are those that src/weights/gguf/ reads; that they are llama.cpp's is seen
 * by giving the file to it.
 */
import { nodeFileTree } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import type { Family } from "../../src/weights/gguf/families/family.ts";
import { FAMILIES } from "../../src/weights/gguf/families.ts";
import { pairsBesideEachOther } from "../../src/weights/gguf/row-orders.ts";
import { BLOCKS, type BlockName } from "./blocks.ts";
import { type Config, type Entries, hasName, keyValueHeadsOf, weightsOf } from "./folder-tensors.ts";
import { placeholderTokenizer } from "./from-checkpoint.ts";
import type { GgufFile, GgufTensor, GgufValue } from "./write-gguf.ts";

export interface FolderGgufOptions {
  /** Of the matrices; Q8_0 or F16 where rows are not whole blocks of it. Default: F32. */
  readonly type?: BlockName | ((name: string) => BlockName);
  /** Of the embedding and the head. Default: as the others. */
  readonly head?: BlockName;
  /** Instead of a placeholder. */
  readonly tokenizer?: Readonly<Record<string, GgufValue>>;
}

/** @throws RangeError for a family that is not written */
export async function folderGguf(folder: string, options: FolderGgufOptions = {}): Promise<GgufFile> {
  const checkpoint = await openCheckpoint(nodeFileTree(folder));
  const config = checkpoint.config;
  const name = (config.architectures as string[])[0];
  const family = FAMILIES.filter(({ architecture }) => architecture === name).find((family) =>
    checkpoint.names.every((tensor) => hasName(family, tensor)),
  );
  if (!family) throw new RangeError(`no GGUF of ${name} is written`);
  const tensors = [...(await weightsOf(checkpoint, family, config)), ...ropeFactors(config)];
  return {
    metadata: {
      ...metadataOf(family, config),
      ...(options.tokenizer ?? placeholderTokenizer(Number(config.vocab_size ?? config.padded_vocab_size))),
    },
    tensors: tensors.map(({ name, shape, values }): GgufTensor => {
      return { name, shape, type: typeOf(name, shape, options), values: () => [values] };
    }),
  };
}

function typeOf(
  name: string,
  shape: readonly number[],
  { type = "F32", head }: FolderGgufOptions,
): BlockName {
  if (shape.length < 2 || name.includes("ffn_gate_inp")) return "F32";
  const isHead = name === "output.weight" || name === "token_embd.weight";
  const wanted = (isHead && head) || (typeof type === "string" ? type : type(name));
  const width = shape[shape.length - 1];
  return [wanted, "Q8_0" as const, "F16" as const].find((type) => width % BLOCKS[type].values === 0)!;
}

/** Fields of config.json by the names that most families have. */
function usualFields(config: Config): Config {
  return {
    hidden_size: config.n_embed ?? config.n_embd ?? config.d_model,
    num_hidden_layers: config.num_layers ?? config.n_layer ?? config.n_layers,
    num_attention_heads: config.n_head ?? config.n_heads,
    // Of a BLOOM that does not say, the converter takes its width.
    max_position_embeddings:
      config.seq_length ?? config.n_positions ?? config.max_seq_len ?? config.hidden_size,
    ...config,
  };
}

/** Their MLPs are four times as wide, whatever other fields say. */
const FOUR_TIMES = ["bloom", "mpt", "gpt2"];
/** They have no field for the size of a head, nor a rotation of some of its entries. */
const WITHOUT_HEAD_SIZE = ["bloom", "mpt", "gpt2", "falcon", "gpt_neox"];

function metadataOf(family: Family, file: Config): Record<string, GgufValue> {
  const config = usualFields(file);
  const type = String(config.model_type);
  const arch = family.named[0];
  const rope = ropeOf(config);
  const heads = number(config.num_attention_heads);
  const hidden = number(config.hidden_size);
  const headDim = Number(config.head_dim ?? config.kv_channels ?? hidden / heads);
  const share = Number(rope.partial_rotary_factor ?? config.partial_rotary_factor ?? 1);
  const isChatGlm = type === "chatglm";
  const mlp = FOUR_TIMES.includes(type)
    ? 4 * hidden
    : number(config.ffn_hidden_size ?? config.intermediate_size);
  const values: Record<string, GgufValue> = {
    "general.architecture": ["string", arch],
    "general.name": ["string", "golden"],
    [`${arch}.block_count`]: ["uint32", number(config.num_hidden_layers)],
    [`${arch}.context_length`]: ["uint32", number(config.max_position_embeddings)],
    [`${arch}.embedding_length`]: ["uint32", hidden],
    [`${arch}.feed_forward_length`]: ["uint32", mlp],
    [`${arch}.attention.head_count`]: ["uint32", heads],
  };
  if (!["mpt", "gpt2", "gpt_neox"].includes(type))
    values[`${arch}.attention.head_count_kv`] = ["uint32", keyValueHeadsOf(config, heads)];
  if (!WITHOUT_HEAD_SIZE.includes(type)) {
    for (const part of ["key", "value"]) values[`${arch}.attention.${part}_length`] = ["uint32", headDim];
    values[`${arch}.rope.freq_base`] = ["float32", Number(rope.rope_theta ?? config.rope_theta ?? 10000)];
  }
  if (!WITHOUT_HEAD_SIZE.includes(type) || type === "gpt_neox")
    values[`${arch}.rope.dimension_count`] = ["uint32", isChatGlm ? headDim / 2 : headDim * share];
  const set = (key: string, value: GgufValue | undefined): void => {
    if (value) values[`${arch}.${key}`] = value;
  };
  const epsilon = family.epsilon ?? "rms_norm_eps";
  const isLayerNorm = family.epsilon !== undefined && !isChatGlm;
  set(`attention.layer_norm_${isLayerNorm ? "" : "rms_"}epsilon`, [
    "float32",
    Number(config[epsilon] ?? 1e-5),
  ]);
  const float = (field: string): GgufValue | undefined =>
    config[field] === undefined || config[field] === null ? undefined : ["float32", number(config[field])];
  set("attention.scale", float("attention_multiplier"));
  set("embedding_scale", float("embedding_multiplier"));
  set("residual_scale", float("residual_multiplier"));
  set("logit_scale", float("logits_scaling") ?? float("logit_scale"));
  set("attn_logit_softcapping", float("attn_logit_softcapping"));
  set("final_logit_softcapping", float("final_logit_softcapping"));
  const types = config.layer_types as string[] | undefined;
  if (typeof config.sliding_window === "number" && family.rowOrder !== pairsBesideEachOther) {
    set("attention.sliding_window", ["uint32", config.sliding_window]);
    if (types)
      set("attention.sliding_window_pattern", ["bool[]", types.map((type) => type === "sliding_attention")]);
  }
  const experts = config.num_local_experts ?? config.num_experts;
  if (family.names.experts) {
    set("expert_count", ["uint32", number(experts)]);
    set("expert_used_count", ["uint32", number(config.num_experts_per_tok)]);
  }
  const size = (key: string, field: string): void => {
    if (typeof config[field] === "number") set(key, ["uint32", number(config[field])]);
  };
  size("expert_feed_forward_length", type === "gpt_oss" ? "intermediate_size" : "moe_intermediate_size");
  size("expert_shared_feed_forward_length", "shared_expert_intermediate_size");
  if (typeof config.norm_topk_prob === "boolean") set("expert_weights_norm", ["bool", config.norm_topk_prob]);
  if (typeof config.use_parallel_residual === "boolean")
    set("use_parallel_residual", ["bool", config.use_parallel_residual]);
  if (type === "gemma4_text") gemma4(config, types!, (key, value) => set(key, value));
  if (type === "ministral3") {
    if (rope.mscale_all_dim !== undefined)
      set("rope.scaling.yarn_log_multiplier", ["float32", number(rope.mscale_all_dim)]);
    set("attention.temperature_scale", ["float32", number(rope.llama_4_scaling_beta)]);
  }
  if (type === "mpt") set("attention.max_alibi_bias", ["float32", 8]);
  if (type === "qwen3_5_text") qwen35(config, (key, value) => set(key, value));
  if (type === "phi3") size("rope.scaling.original_context_length", "original_max_position_embeddings");
  const kind = rope.rope_type ?? rope.type ?? "default";
  if (kind === "longrope") {
    const original = number(config.original_max_position_embeddings);
    const scale = number(config.max_position_embeddings) / original;
    const factor = scale > 1 ? Math.sqrt(1 + Math.log(scale) / Math.log(original)) : 1;
    set("rope.scaling.attn_factor", ["float32", factor]);
  }
  if (kind === "linear" || kind === "yarn") {
    set("rope.scaling.type", ["string", kind]);
    set("rope.scaling.factor", ["float32", number(rope.factor)]);
    if (kind === "yarn")
      set("rope.scaling.original_context_length", ["uint32", number(rope.original_max_position_embeddings)]);
  }
  return values;
}

function qwen35(config: Config, set: (key: string, value: GgufValue) => void): void {
  const types = config.layer_types as readonly string[];
  const [keys, values] = [number(config.linear_num_key_heads), number(config.linear_num_value_heads)];
  set("full_attention_interval", ["uint32", types.indexOf("full_attention") + 1]);
  set("ssm.conv_kernel", ["uint32", number(config.linear_conv_kernel_dim)]);
  set("ssm.state_size", ["uint32", number(config.linear_key_head_dim)]);
  set("ssm.group_count", ["uint32", keys]);
  set("ssm.time_step_rank", ["uint32", values]);
  set("ssm.inner_size", ["uint32", values * number(config.linear_value_head_dim)]);
  set("rope.dimension_sections", ["int32[]", [1, 1, 0, 0]]);
}

/** What differs between its layers. */
function gemma4(
  config: Config,
  types: readonly string[],
  set: (key: string, value: GgufValue) => void,
): void {
  const byLayer = (config.per_layer_config ?? {}) as Readonly<Record<string, Config>>;
  const local = number(config.head_dim);
  const full = Number(Object.values(byLayer)[0]?.head_dim ?? config.global_head_dim ?? local);
  for (const part of ["key", "value"]) {
    set(`attention.${part}_length`, ["uint32", full]);
    set(`attention.${part}_length_swa`, ["uint32", local]);
  }
  set("rope.dimension_count", ["uint32", full]);
  set("rope.dimension_count_swa", ["uint32", local]);
  const { sliding_attention: sliding } = config.rope_parameters as Readonly<Record<string, Config>>;
  set("rope.freq_base_swa", ["float32", number(sliding.rope_theta)]);
  const shared = Number(config.num_kv_shared_layers ?? 0);
  set("attention.shared_kv_layers", ["uint32", shared]);
  set("embedding_length_per_layer_input", ["uint32", Number(config.hidden_size_per_layer_input ?? 0)]);
  const width = number(config.intermediate_size);
  const isWide = (layer: number) => config.use_double_wide_mlp === true && layer >= types.length - shared;
  set("feed_forward_length", ["uint32[]", types.map((_, layer) => (isWide(layer) ? 2 * width : width))]);
}

/** Of all layers, or of those that see everything. */
function ropeOf(config: Config): Config {
  const record = (config.rope_parameters ?? config.rope_scaling ?? {}) as Config;
  return (record.full_attention ?? record) as Config;
}

/** What each frequency is divided by, as the converter writes it for Llama 3 and for Phi 3's long contexts. */
function ropeFactors(config: Config): Entries[] {
  const rope = ropeOf(config);
  if (rope.rope_type === "longrope") {
    return (["long", "short"] as const).map((kind) => {
      const values = Float32Array.from(rope[`${kind}_factor`] as number[]);
      return { name: `rope_factors_${kind}.weight`, shape: [values.length], values };
    });
  }
  if (rope.rope_type === "proportional") {
    const byLayer = Object.values((config.per_layer_config ?? {}) as Readonly<Record<string, Config>>);
    const pairs = Number(byLayer[0]?.head_dim ?? config.global_head_dim ?? config.head_dim) / 2;
    const turned = Math.floor(pairs * number(rope.partial_rotary_factor));
    const values = Float32Array.from({ length: pairs }, (_, i) => (i < turned ? 1 : 1e30));
    return [{ name: "rope_freqs.weight", shape: [pairs], values }];
  }
  if (rope.rope_type !== "llama3") return [];
  const dims = Number(config.head_dim ?? number(config.hidden_size) / number(config.num_attention_heads));
  const theta = number(rope.rope_theta ?? config.rope_theta);
  const [factor, low, high] = [
    number(rope.factor),
    number(rope.low_freq_factor),
    number(rope.high_freq_factor),
  ];
  const context = number(rope.original_max_position_embeddings);
  const values = Float32Array.from({ length: dims / 2 }, (_, i) => {
    const wave = 2 * Math.PI * theta ** ((2 * i) / dims);
    if (wave < context / high) return 1;
    if (wave > context / low) return factor;
    const smooth = (context / wave - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
  return [{ name: "rope_freqs.weight", shape: [dims / 2], values }];
}

function number(value: unknown): number {
  if (typeof value === "number") return value;
  throw new RangeError(`config.json has ${JSON.stringify(value)} where a number is wanted`);
}
