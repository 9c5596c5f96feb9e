/**
 * The tensors of a checkpoint and of a LoRA adapter: names, shapes, and how large their entries are.
 *
 * Sizes keep activations sane at any depth: a linear layer has entries of variance 1/in, so that a normed input
 * gives outputs of variance 1; what is added to the residual stream is divided by √(2·layers); logits have a
 * spread of about LOGIT_SPREAD.
 */
import type { Shape } from "./shapes.ts";

export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Entries are mean + std·(standard normal) … */
  readonly mean: number;
  readonly std: number;
  /** … or these. */
  readonly values?: Float32Array;
}

/** A module that an adapter may change. */
export interface LinearSpec {
  /** Full name without ".weight". */
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Standard deviation of its outputs. */
  readonly gain: number;
}

export interface ModelTensors {
  readonly tensors: readonly TensorSpec[];
  readonly linears: readonly LinearSpec[];
  /** Weights are stored (in, out), as GPT-2's Conv1D has them. */
  readonly fanInFanOut: boolean;
}

const LOGIT_SPREAD = 2;
/** What an adapter adds to a module's output, as a part of that output's standard deviation. */
const ADAPTER_PART = 0.4;

export function tensorsOf(shape: Shape): ModelTensors {
  if (shape.family === "chatglm2") return chatglm2Tensors(shape);
  if (shape.family === "gpt2") return gpt2Tensors(shape);
  return llamaTensors(shape);
}

/** lora_A and lora_B of the modules, scale·B·A·x about `part` as large as what it is added to. */
export function adapterTensors(
  linears: readonly LinearSpec[],
  rank: number,
  scale: number,
  part = ADAPTER_PART,
): TensorSpec[] {
  return linears.flatMap(({ name, inFeatures, outFeatures, gain }) => [
    normal(`base_model.model.${name}.lora_A.weight`, [rank, inFeatures], 1 / Math.sqrt(inFeatures)),
    normal(
      `base_model.model.${name}.lora_B.weight`,
      [outFeatures, rank],
      (part * gain) / (scale * Math.sqrt(rank)),
    ),
  ]);
}

/** Collects tensors while a family's layers are walked through. */
class Tensors implements ModelTensors {
  readonly tensors: TensorSpec[] = [];
  readonly linears: LinearSpec[] = [];
  readonly fanInFanOut: boolean;

  constructor(fanInFanOut: boolean) {
    this.fanInFanOut = fanInFanOut;
  }

  linear(name: string, outFeatures: number, inFeatures: number, { bias = false, gain = 1 } = {}): void {
    const dims = this.fanInFanOut ? [inFeatures, outFeatures] : [outFeatures, inFeatures];
    this.tensors.push(normal(`${name}.weight`, dims, gain / Math.sqrt(inFeatures)));
    if (bias) this.tensors.push(normal(`${name}.bias`, [outFeatures], 0.1 * gain));
    this.linears.push({ name, inFeatures, outFeatures, gain });
  }

  norm(name: string, width: number, { bias = false, gain = 1 } = {}): void {
    this.tensors.push({ name: `${name}.weight`, shape: [width], mean: gain, std: 0.1 * gain });
    if (bias) this.tensors.push(normal(`${name}.bias`, [width], 0.1));
  }

  embedding(name: string, rows: number, width: number, std: number): void {
    this.tensors.push(normal(`${name}.weight`, [rows, width], std));
  }

  values(name: string, values: Float32Array): void {
    this.tensors.push({ name, shape: [values.length], mean: 0, std: 0, values });
  }
}

function normal(name: string, shape: readonly number[], std: number): TensorSpec {
  return { name, shape, mean: 0, std };
}

/**
 * A tied embedding is smaller by this and the last norm larger: else the id just read, whose row is in the residual
 * stream, would be the likeliest one, and a seeded model would repeat it for ever.
 */
const TIED_DAMPING = 4;

const headStd = ({ hidden }: Shape) => LOGIT_SPREAD / Math.sqrt(hidden);
const branchGain = ({ layers }: Shape) => 1 / Math.sqrt(2 * layers);

/** Llama, Qwen2 (bias on q, k, v), Qwen3 (norms of q and k), Mistral. */
function llamaTensors(shape: Shape): ModelTensors {
  const { hidden, ffn, heads, kvHeads, headDim, vocab, tied, family } = shape;
  const all = new Tensors(false);
  const qkv = { bias: family === "qwen2" };
  const branch = { gain: branchGain(shape) };
  all.embedding("model.embed_tokens", vocab, hidden, tied ? headStd(shape) / TIED_DAMPING : 1);
  for (let i = 0; i < shape.layers; i++) {
    const layer = `model.layers.${i}`;
    all.norm(`${layer}.input_layernorm`, hidden);
    all.linear(`${layer}.self_attn.q_proj`, heads * headDim, hidden, qkv);
    all.linear(`${layer}.self_attn.k_proj`, kvHeads * headDim, hidden, qkv);
    all.linear(`${layer}.self_attn.v_proj`, kvHeads * headDim, hidden, qkv);
    if (family === "qwen3") {
      all.norm(`${layer}.self_attn.q_norm`, headDim);
      all.norm(`${layer}.self_attn.k_norm`, headDim);
    }
    all.linear(`${layer}.self_attn.o_proj`, hidden, heads * headDim, branch);
    all.norm(`${layer}.post_attention_layernorm`, hidden);
    all.linear(`${layer}.mlp.gate_proj`, ffn, hidden);
    all.linear(`${layer}.mlp.up_proj`, ffn, hidden);
    all.linear(`${layer}.mlp.down_proj`, hidden, ffn, branch);
  }
  all.norm("model.norm", hidden, { gain: tied ? TIED_DAMPING : 1 });
  if (!tied) all.embedding("lm_head", vocab, hidden, headStd(shape));
  return all;
}

function chatglm2Tensors(shape: Shape): ModelTensors {
  const { hidden, ffn, heads, kvHeads, headDim, vocab } = shape;
  const all = new Tensors(false);
  const branch = { gain: branchGain(shape) };
  all.embedding("transformer.embedding.word_embeddings", vocab, hidden, 1);
  // A buffer that released checkpoints carry: half of each head turns, in pairs.
  const turned = headDim / 2;
  all.values(
    "transformer.rotary_pos_emb.inv_freq",
    Float32Array.from({ length: turned / 2 }, (_, i) => shape.ropeTheta ** ((-2 * i) / turned)),
  );
  for (let i = 0; i < shape.layers; i++) {
    const layer = `transformer.encoder.layers.${i}`;
    all.norm(`${layer}.input_layernorm`, hidden);
    const qkvRows = (heads + 2 * kvHeads) * headDim;
    all.linear(`${layer}.self_attention.query_key_value`, qkvRows, hidden, { bias: true });
    all.linear(`${layer}.self_attention.dense`, hidden, heads * headDim, branch);
    all.norm(`${layer}.post_attention_layernorm`, hidden);
    all.linear(`${layer}.mlp.dense_h_to_4h`, 2 * ffn, hidden);
    all.linear(`${layer}.mlp.dense_4h_to_h`, hidden, ffn, branch);
  }
  all.norm("transformer.encoder.final_layernorm", hidden);
  all.embedding("transformer.output_layer", vocab, hidden, headStd(shape));
  return all;
}

function gpt2Tensors(shape: Shape): ModelTensors {
  const { hidden, ffn, vocab, context } = shape;
  const all = new Tensors(true);
  const branch = { bias: true, gain: branchGain(shape) };
  all.embedding("transformer.wte", vocab, hidden, headStd(shape) / TIED_DAMPING);
  all.embedding("transformer.wpe", context, hidden, headStd(shape) / 2);
  for (let i = 0; i < shape.layers; i++) {
    const layer = `transformer.h.${i}`;
    all.norm(`${layer}.ln_1`, hidden, { bias: true });
    all.linear(`${layer}.attn.c_attn`, 3 * hidden, hidden, { bias: true });
    all.linear(`${layer}.attn.c_proj`, hidden, hidden, branch);
    all.norm(`${layer}.ln_2`, hidden, { bias: true });
    all.linear(`${layer}.mlp.c_fc`, ffn, hidden, { bias: true });
    all.linear(`${layer}.mlp.c_proj`, hidden, ffn, branch);
  }
  all.norm("transformer.ln_f", hidden, { bias: true, gain: TIED_DAMPING });
  return all;
}
