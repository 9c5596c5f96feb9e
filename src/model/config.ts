/** config.json of a decoder, read into our own terms. Hugging Face's field names stop here. */

import { TacetError } from "../base/errors.ts";
import type { Rope, RopeScaling } from "./rope.ts";

/** What the Llama family needs to know; other families fill in the same record where they can. */
export interface DecoderConfig {
  readonly layers: number;
  readonly hiddenSize: number;
  /** Width of the MLP. */
  readonly mlpSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  /** Longest context of training, in tokens. */
  readonly trainedContext: number;
  readonly normEpsilon: number;
  readonly rope: Rope;
  /** The logits use the embedding; there is no lm_head.weight. */
  readonly tiedHead: boolean;
  readonly bias: { readonly qkv: boolean; readonly attentionOut: boolean; readonly mlp: boolean };
}

export type RawConfig = Readonly<Record<string, unknown>>;

/**
 * LlamaForCausalLM, with the defaults of transformers' LlamaConfig for fields that are left out.
 *
 * @throws TacetError bad_checkpoint for a field of the wrong kind, unsupported_model for an option that would
 *   change the result and is not implemented
 */
export function parseLlamaConfig(raw: RawConfig): DecoderConfig {
  const heads = count(raw, "num_attention_heads", 32);
  const kvHeads = count(raw, "num_key_value_heads", heads);
  const hiddenSize = count(raw, "hidden_size", 4096);
  if (heads % kvHeads !== 0) {
    throw bad("num_attention_heads", `${heads} is not a multiple of num_key_value_heads, ${kvHeads}`);
  }
  const headDim = count(raw, "head_dim", hiddenSize / heads);
  if (headDim % 2 !== 0) throw bad("head_dim", `${headDim} is odd`);
  demand(raw, "hidden_act", "silu");
  demand(raw, "partial_rotary_factor", 1);
  demand(raw, "quantization_config", undefined);
  const attentionBias = flag(raw, "attention_bias", false);
  return {
    layers: count(raw, "num_hidden_layers", 32),
    hiddenSize,
    mlpSize: count(raw, "intermediate_size", 11008),
    heads,
    kvHeads,
    headDim,
    vocabSize: count(raw, "vocab_size", 32000),
    trainedContext: count(raw, "max_position_embeddings", 2048),
    normEpsilon: positive(raw, "rms_norm_eps", 1e-6),
    rope: parseRope(raw),
    tiedHead: flag(raw, "tie_word_embeddings", false),
    bias: { qkv: attentionBias, attentionOut: attentionBias, mlp: flag(raw, "mlp_bias", false) },
  };
}

/** rope_theta and rope_scaling; transformers 5 writes both into rope_parameters. */
function parseRope(raw: RawConfig): Rope {
  const field = present(raw.rope_parameters) ? "rope_parameters" : "rope_scaling";
  const scaling = raw[field];
  if (!present(scaling)) return { theta: positive(raw, "rope_theta", 10000), scaling: { kind: "none" } };
  if (typeof scaling !== "object" || Array.isArray(scaling)) throw bad(field, "is not an object");
  const record = scaling as RawConfig;
  demand(record, "partial_rotary_factor", 1, field);
  const theta = positive(present(record.rope_theta) ? record : raw, "rope_theta", 10000);
  return { theta, scaling: parseRopeScaling(record, field) };
}

function parseRopeScaling(record: RawConfig, field: string): RopeScaling {
  // "type" is the older spelling.
  const kind = record.rope_type ?? record.type ?? "default";
  if (kind === "default") return { kind: "none" };
  if (kind === "linear") return { kind, factor: positive(record, "factor", undefined, field) };
  if (kind !== "llama3") throw unsupported(`${field}.rope_type`, kind);
  return {
    kind,
    factor: positive(record, "factor", undefined, field),
    lowFrequencyFactor: positive(record, "low_freq_factor", undefined, field),
    highFrequencyFactor: positive(record, "high_freq_factor", undefined, field),
    originalContext: positive(record, "original_max_position_embeddings", undefined, field),
  };
}

function present(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** @throws TacetError bad_checkpoint unless the field is a positive integer or left out */
function count(raw: RawConfig, field: string, fallback: number): number {
  const value = raw[field] ?? fallback;
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
  throw bad(field, `must be a positive integer, is ${show(value)}`);
}

function positive(raw: RawConfig, field: string, fallback?: number, inside?: string): number {
  const value = raw[field] ?? fallback;
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw bad(inside ? `${inside}.${field}` : field, `must be a positive number, is ${show(value)}`);
}

function flag(raw: RawConfig, field: string, fallback: boolean): boolean {
  const value = raw[field] ?? fallback;
  if (typeof value === "boolean") return value;
  throw bad(field, `must be true or false, is ${show(value)}`);
}

/** @throws TacetError unsupported_model unless the field has this value or is left out */
function demand(raw: RawConfig, field: string, wanted: unknown, inside?: string): void {
  const value = raw[field];
  if (present(value) && value !== wanted) throw unsupported(inside ? `${inside}.${field}` : field, value);
}

function bad(field: string, what: string): TacetError {
  return new TacetError("bad_checkpoint", `config.json: ${field} ${what}`);
}

function unsupported(field: string, value: unknown): TacetError {
  return new TacetError("unsupported_model", `config.json: ${field} = ${show(value)} is not supported`);
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 80);
}
