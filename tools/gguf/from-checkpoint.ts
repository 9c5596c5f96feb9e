/**
 * A checkpoint's tensors and sizes under the names that llama.cpp gives them (its convert_hf_to_gguf.py). The
 * tokenizer is a placeholder: prompts are ids.
 */
import type { Shape } from "../checkpoint/shapes.ts";
import type { TensorSpec } from "../checkpoint/tensors.ts";
import type { GgufValue } from "./write-gguf.ts";

/** Of each family, general.architecture. Not GPT-2: llama.cpp wants its matrices the other way round. */
const ARCHITECTURES: Partial<Record<Shape["family"], string>> = {
  llama: "llama",
  mistral: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  chatglm2: "chatglm",
};

/** @throws RangeError for a family that is not written as GGUF */
export function ggufMetadata(shape: Shape): Record<string, GgufValue> {
  const arch = architectureOf(shape);
  const own: Record<string, GgufValue> =
    arch === "chatglm"
      ? { [`${arch}.rope.dimension_count`]: ["uint32", shape.headDim / 2] }
      : {
          [`${arch}.rope.dimension_count`]: ["uint32", shape.headDim],
          [`${arch}.attention.key_length`]: ["uint32", shape.headDim],
          [`${arch}.attention.value_length`]: ["uint32", shape.headDim],
        };
  return {
    "general.architecture": ["string", arch],
    "general.name": ["string", "seeded"],
    "general.quantization_version": ["uint32", 2],
    [`${arch}.block_count`]: ["uint32", shape.layers],
    [`${arch}.context_length`]: ["uint32", shape.context],
    [`${arch}.embedding_length`]: ["uint32", shape.hidden],
    [`${arch}.feed_forward_length`]: ["uint32", shape.ffn],
    [`${arch}.attention.head_count`]: ["uint32", shape.heads],
    [`${arch}.attention.head_count_kv`]: ["uint32", shape.kvHeads],
    [`${arch}.attention.layer_norm_rms_epsilon`]: ["float32", shape.epsilon],
    [`${arch}.rope.freq_base`]: ["float32", shape.ropeTheta],
    [`${arch}.vocab_size`]: ["uint32", shape.vocab],
    ...own,
    ...placeholderTokenizer(shape.vocab),
  };
}

/** SentencePiece token types: unknown, control, byte and plain ones. */
const TOKEN_TYPES = { unknown: 2, control: 3, byte: 6, normal: 1 };

/**
 * A vocabulary of placeholders in SentencePiece's form: node-llama-cpp loads no model without one, though prompts are
 * ids. "<unk>", "<s>", "</s>", the 256 bytes, then names.
 */
export function placeholderTokenizer(size: number): Record<string, GgufValue> {
  const first = ["<unk>", "<s>", "</s>"];
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
  const named = [...first, ...bytes];
  const tokens = Array.from({ length: size }, (_, id) => named[id] ?? `t${id}`);
  const { unknown, control, byte, normal } = TOKEN_TYPES;
  const types = tokens.map((_, id) => [unknown, control, control][id] ?? (id < named.length ? byte : normal));
  return {
    "tokenizer.ggml.model": ["string", "llama"],
    "tokenizer.ggml.tokens": ["string[]", tokens],
    "tokenizer.ggml.scores": ["float32[]", tokens.map((_, id) => -id)],
    "tokenizer.ggml.token_type": ["int32[]", types],
    "tokenizer.ggml.unknown_token_id": ["uint32", 0],
    "tokenizer.ggml.bos_token_id": ["uint32", 1],
    "tokenizer.ggml.eos_token_id": ["uint32", 2],
  };
}

function architectureOf({ family }: Shape): string {
  const arch = ARCHITECTURES[family];
  if (arch === undefined) throw new RangeError(`no GGUF of the family ${family} is written`);
  return arch;
}

const NAMES: Readonly<Record<string, string>> = {
  "model.embed_tokens": "token_embd",
  "transformer.embedding.word_embeddings": "token_embd",
  "model.norm": "output_norm",
  "transformer.encoder.final_layernorm": "output_norm",
  lm_head: "output",
  "transformer.output_layer": "output",
};

const LAYER_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  "self_attention.query_key_value": "attn_qkv",
  "self_attention.dense": "attn_output",
  "mlp.dense_h_to_4h": "ffn_up",
  "mlp.dense_4h_to_h": "ffn_down",
};

/** "model.layers.3.mlp.up_proj.weight" → "blk.3.ffn_up.weight"; undefined for what GGUF has no tensor for. */
export function ggufName(name: string): string | undefined {
  const [, stem, last] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  if (stem === undefined) return undefined;
  const [, layer, part] = /\.layers\.(\d+)\.(.*)$/.exec(stem) ?? [];
  const known = layer === undefined ? NAMES[stem] : LAYER_NAMES[part] && `blk.${layer}.${LAYER_NAMES[part]}`;
  if (known === undefined) throw new RangeError(`${name} has no name in GGUF`);
  return `${known}.${last}`;
}

/**
 * Heads whose rows turn in pairs (i, i + headDim/2) as pairs of neighbours, which is what llama.cpp's "llama" turns:
 * the number of heads of such a tensor, else undefined.
 */
export function pairedHeads(shape: Shape, name: string): number | undefined {
  if (ARCHITECTURES[shape.family] !== "llama") return undefined;
  if (name.includes(".q_proj.")) return shape.heads;
  return name.includes(".k_proj.") ? shape.kvHeads : undefined;
}

/** Rows of each head: 0, d/2, 1, d/2 + 1, … @param rows of the tensor; a bias has one entry a row */
export function pairNeighbours(values: Float32Array, rows: number, heads: number): Float32Array {
  const out = new Float32Array(values.length);
  const width = values.length / rows;
  const headDim = rows / heads;
  for (let row = 0; row < rows; row++) {
    const within = row % headDim;
    const from = row - within + Math.floor(within / 2) + (within % 2) * (headDim / 2);
    out.set(values.subarray(from * width, (from + 1) * width), row * width);
  }
  return out;
}

/** Norms and biases stay F32, as llama.cpp keeps them. */
export const isMatrix = ({ shape }: Pick<TensorSpec, "shape">) => shape.length > 1;
