/** From a family's choices to the description of its decoder: what most families on Hugging Face have in common. */

import type { Activation } from "../graph/blocks/activation.ts";
import type { Norm } from "../graph/blocks/norm.ts";
import type { Rotary } from "../graph/blocks/rotary-tables.ts";
import type { Block, Decoder, Embedding, Head, Module } from "../graph/decoder.ts";
import { embeddingPlace, headPlace, type LinearPlace } from "../graph/linear-place.ts";
import type { Attention } from "../graph/modules/attention.ts";
import type { Mlp } from "../graph/modules/mlp.ts";
import { longFrom, type Rope, ropeLimit } from "../graph/rope.ts";
import { unsupported } from "./config-fields.ts";
import type { Sizes } from "./sizes.ts";

/** Names of tensors, those inside a layer without the layer's. */
export interface Names {
  readonly embedding: string;
  /** What the layers' numbers stand behind. */
  readonly layers: string;
  /** q, k and v, or the one module that has all three. */
  readonly qkv: readonly string[];
  readonly attentionOut: string;
  /** gate and up, the one module that has both, or up alone. */
  readonly mlpIn: readonly string[];
  readonly mlpOut: string;
  /** null: there is none at this place. */
  readonly norms: {
    readonly beforeAttention: string | null;
    readonly behindAttention: string | null;
    readonly beforeMlp: string | null;
    readonly behindMlp: string | null;
  };
  readonly finalNorm: string | null;
  readonly head: string;
  /** As transformers, and so adapters, call its module, where the tensor is called otherwise. */
  readonly headModule?: string;
}

/** Llama's, and of most families since. */
export const NAMES: Names = {
  embedding: "model.embed_tokens.weight",
  layers: "model.layers",
  qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
  attentionOut: "self_attn.o_proj",
  mlpIn: ["mlp.gate_proj", "mlp.up_proj"],
  mlpOut: "mlp.down_proj",
  norms: {
    beforeAttention: "input_layernorm",
    behindAttention: null,
    beforeMlp: "post_attention_layernorm",
    behindMlp: null,
  },
  finalNorm: "model.norm",
  head: "lm_head.weight",
};

/** A norm in front of attention and MLP, and one behind each. */
export const FOUR_NORMS: Names["norms"] = {
  beforeAttention: "input_layernorm",
  behindAttention: "post_attention_layernorm",
  beforeMlp: "pre_feedforward_layernorm",
  behindMlp: "post_feedforward_layernorm",
};

/** None in front, one behind each. */
export const NORMS_BEHIND: Names["norms"] = {
  beforeAttention: null,
  behindAttention: "post_attention_layernorm",
  beforeMlp: null,
  behindMlp: "post_feedforward_layernorm",
};

/** Of all norms but those of heads. */
export interface NormKind {
  /** Default: "rms". */
  readonly kind?: "rms" | "layer";
  readonly plusOne?: boolean;
  /** Default: a layer norm has one. */
  readonly bias?: boolean;
  readonly epsilon: number;
}

export interface Layout {
  readonly names?: Partial<Names>;
  readonly norm: NormKind;
  /** Default: none. */
  readonly bias?: { readonly qkv?: boolean; readonly attentionOut?: boolean; readonly mlp?: boolean };
  readonly activation: Activation;
  /** Default: true. */
  readonly gated?: boolean;
  /** Attention and MLP read the same h. Without a norm before the MLP they read the same norm of it. */
  readonly parallel?: boolean;
  readonly rotary?: Rotary | null;
  /** Weights are stored (in, out). */
  readonly storedInOut?: boolean;
  /** What else attention has, or has otherwise, in each layer. */
  readonly attention?: (layer: number, name: string) => Partial<Attention>;
  /** Another width of the MLP in some layers. */
  readonly mlpSize?: (layer: number) => number;
  /** Another module instead of the MLP. */
  readonly mlp?: (layer: number, name: string) => Module | undefined;
  /** Another module instead of attention. */
  readonly mixer?: (layer: number, name: string) => Module | undefined;
  readonly embedding?: Omit<Embedding, "place">;
  readonly residualScale?: number;
  readonly residual?: Block["residual"];
  readonly head?: Omit<Head, "place">;
  /** Default: none. */
  readonly headBias?: boolean;
  /** Blocks behind the layer's own. */
  readonly more?: (layer: number, name: string) => readonly Block[];
}

export function buildDecoder(sizes: Sizes, layout: Layout): Decoder {
  const { layers, hiddenSize, heads, vocabSize, trainedContext, tiedHead } = sizes;
  const names = { ...NAMES, ...layout.names };
  const { finalNorm } = names;
  const blocks = Array.from({ length: layers }, (_, layer) => layerBlocks(sizes, layout, names, layer));
  const ropes = ropesOf(blocks.flat());
  const contextLimit = sizes.contextLimit ?? limitOf(ropes);
  const [long, other] = new Set(ropes.map(longFrom).filter(Number.isFinite));
  if (other !== undefined) throw unsupported("original_max_position_embeddings", [long, other]);
  return {
    layers,
    hiddenSize,
    heads,
    vocabSize,
    trainedContext,
    ...(contextLimit === undefined ? {} : { contextLimit }),
    ...(long === undefined ? {} : { longFrom: long }),
    embedding: {
      place: embeddingPlace(moduleOf(names.embedding), vocabSize, hiddenSize),
      ...layout.embedding,
    },
    blocks,
    finalNorm: finalNorm === null ? null : normOf(finalNorm, hiddenSize, layout.norm),
    head: {
      place: headPlace(names.headModule ?? moduleOf(names.head), layers, [vocabSize, hiddenSize], {
        weight: tiedHead ? names.embedding : names.head,
        bias: layout.headBias,
      }),
      ...layout.head,
    },
  };
}

function moduleOf(weight: string): string {
  return weight.replace(/\.weight$/, "");
}

function ropesOf(blocks: readonly Block[]): Rope[] {
  return blocks
    .flatMap(({ branches }) => branches)
    .flatMap(({ module }) => (module.kind === "attention" && module.rotary ? [module.rotary.rope] : []));
}

/** The longest context that all rotations serve. */
function limitOf(ropes: readonly Rope[]): Decoder["contextLimit"] {
  const limits = ropes.flatMap((rope) => ropeLimit(rope) ?? []);
  return limits.sort((a, b) => a.tokens - b.tokens)[0];
}

/** A norm of this kind with the names that Hugging Face gives its tensors. */
export function normOf(
  name: string,
  width: number,
  { kind = "rms", plusOne = false, bias = kind === "layer", epsilon }: NormKind,
): Norm {
  return {
    kind,
    weight: `${name}.weight`,
    ...(plusOne ? { plusOne } : {}),
    ...(bias ? { bias: `${name}.bias` } : {}),
    width,
    epsilon,
  };
}

function layerBlocks(sizes: Sizes, layout: Layout, names: Names, layer: number): Block[] {
  const name = `${names.layers}.${layer}`;
  const normAt = (place: string | null): Norm | null =>
    place === null ? null : normOf(`${name}.${place}`, sizes.hiddenSize, layout.norm);
  const { beforeAttention, behindAttention, beforeMlp, behindMlp } = names.norms;
  const attention = {
    before: normAt(beforeAttention),
    module: layout.mixer?.(layer, name) ?? attentionOf(sizes, layout, names, layer),
    behind: normAt(behindAttention),
  };
  const mlp = {
    before: normAt(beforeMlp),
    module: layout.mlp?.(layer, name) ?? mlpOf(sizes, layout, names, layer),
    behind: normAt(behindMlp),
  };
  const { residualScale = 1, residual = "input", more, parallel = false } = layout;
  const rest = {
    ...(residualScale === 1 ? {} : { scale: residualScale }),
    ...(residual === "input" ? {} : { residual }),
  };
  const own = parallel
    ? [{ ...parallelBlock(attention, mlp), ...rest }]
    : [attention, mlp].map((branch) => ({ branches: [branch], ...rest }));
  return [...own, ...(more?.(layer, name) ?? [])];
}

/** Modules that read the same norm are one place where all or none of them have a bias. */
function parallelBlock(attention: Block["branches"][0], mlp: Block["branches"][0]): Block {
  if (mlp.before !== null || attention.before === null) return { branches: [attention, mlp] };
  const before = attention.before;
  const [one, two] = [attention.module, mlp.module];
  if (!("in" in one && "in" in two) || one.in.bias !== two.in.bias)
    return { branches: [attention, { ...mlp, before }] };
  const place: LinearPlace = {
    ...one.in,
    modules: [...one.in.modules, ...two.in.modules],
    outFeatures: [...one.in.outFeatures, ...two.in.outFeatures],
  };
  return { branches: [attention, mlp], shared: { before, place } };
}

function attentionOf(sizes: Sizes, layout: Layout, names: Names, layer: number): Attention {
  const { hiddenSize } = sizes;
  const { bias = {}, rotary = null } = layout;
  const name = `${names.layers}.${layer}`;
  const own = layout.attention?.(layer, name) ?? {};
  const { heads = sizes.heads, kvHeads = sizes.kvHeads, headDim = sizes.headDim } = own;
  const stored = layout.storedInOut ? { storedInOut: true } : {};
  const widths = [(own.gated ? 2 : 1) * heads * headDim, kvHeads * headDim, kvHeads * headDim];
  // Keys that are values too, or another layer's, have no module here.
  const parts = own.keysFrom !== undefined ? 1 : own.valuesAreKeys ? 2 : 3;
  const isFused = names.qkv.length === 1;
  return {
    kind: "attention",
    layer,
    in: {
      layer,
      modules: (isFused ? names.qkv : names.qkv.slice(0, parts)).map((module) => `${name}.${module}`),
      inFeatures: hiddenSize,
      outFeatures: isFused ? [widths.reduce((sum, width) => sum + width)] : widths.slice(0, parts),
      bias: bias.qkv ?? false,
      ...stored,
    },
    columns: "parts",
    out: {
      layer,
      modules: [`${name}.${names.attentionOut}`],
      inFeatures: heads * headDim,
      outFeatures: [hiddenSize],
      bias: bias.attentionOut ?? false,
      ...stored,
    },
    heads,
    kvHeads,
    headDim,
    scale: 1 / Math.sqrt(headDim),
    rotary,
    window: null,
    ...own,
  };
}

function mlpOf(sizes: Sizes, layout: Layout, names: Names, layer: number): Mlp {
  const { hiddenSize } = sizes;
  const { gated = true, activation, mlpSize } = layout;
  const name = `${names.layers}.${layer}`;
  const width = mlpSize?.(layer) ?? sizes.mlpSize;
  const common = {
    layer,
    bias: layout.bias?.mlp ?? false,
    ...(layout.storedInOut ? { storedInOut: true } : {}),
  };
  const isFused = names.mlpIn.length === 1;
  return {
    kind: "mlp",
    in: {
      ...common,
      modules: names.mlpIn.map((module) => `${name}.${module}`),
      inFeatures: hiddenSize,
      outFeatures: !gated ? [width] : isFused ? [2 * width] : [width, width],
    },
    gated,
    activation,
    out: {
      ...common,
      modules: [`${name}.${names.mlpOut}`],
      inFeatures: width,
      outFeatures: [hiddenSize],
    },
  };
}
