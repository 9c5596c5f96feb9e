/**
 * What a decoder consists of, as data: a family reads config.json into it, write-decoder.ts makes the graph of it.
 *
 *   h = embed(ids);  for each block of each layer: h' = h + scale·Σ behind(module(before(h)));  logits = head(norm(h))
 */

import type { Norm } from "./blocks/norm.ts";
import type { LinearPlace } from "./linear-place.ts";
import type { DeltaNet } from "./modules/delta-net.ts";
import type { Experts } from "./modules/experts.ts";
import type { Attention } from "./modules/attention.ts";
import type { Mlp } from "./modules/mlp.ts";
import type { PerLayerInput } from "./modules/per-layer-input.ts";

/** What every decoder says about its sizes. */
export interface DecoderConfig {
  readonly layers: number;
  readonly hiddenSize: number;
  /** Query heads; the most where layers differ. */
  readonly heads: number;
  readonly vocabSize: number;
  /** Longest context of training, in tokens. */
  readonly trainedContext: number;
  /** Most tokens of a context, where more would be wrong, and why. */
  readonly contextLimit?: { readonly tokens: number; readonly reason: string };
  /** A context of more tokens has all of them turned otherwise (longrope). */
  readonly longFrom?: number;
}

export interface Decoder extends DecoderConfig {
  readonly embedding: Embedding;
  /** The blocks of each layer in the order they run: a Llama layer has two, of one branch each. */
  readonly blocks: readonly (readonly Block[])[];
  readonly finalNorm: Norm | null;
  readonly head: Head;
}

/** h = norm(scale·(table[ids] + delta) + positions[offset + position]) */
export interface Embedding {
  /** The table, (vocab, hidden). */
  readonly place: LinearPlace;
  readonly scale?: number;
  readonly norm?: Norm;
  /** Learned positions: a table (rows, hidden), of which position p has row p + offset. */
  readonly positions?: { readonly weight: string; readonly rows: number; readonly offset: number };
  readonly perLayer?: PerLayerEmbedding;
}

/**
 * A second embedding, of which each layer gets its part (Gemma 4): for layer l, of `width` entries each,
 * p_l = (norm(projection·h / √hidden)_l + √width·table[ids]_l) / √2.
 */
export interface PerLayerEmbedding {
  /** (rows, layers·width) */
  readonly weight: string;
  readonly rows: number;
  readonly width: number;
  readonly hiddenSize: number;
  /** Name of a matrix (layers·width, hidden). */
  readonly projection: string;
  readonly norm: Norm;
}

/** logits = cap·tanh(scale·(W·x + b + delta) / cap), or without the cap. */
export interface Head {
  /** W, (vocab, hidden). */
  readonly place: LinearPlace;
  readonly scale?: number;
  readonly softCap?: number;
}

/** h' = gain·(h + scale·Σ branches(h)) */
export interface Block {
  /** More than one: they read the same h. */
  readonly branches: readonly Branch[];
  /** Their norm and the places they begin with are one: all modules that read the same x. */
  readonly shared?: { readonly before: Norm; readonly place: LinearPlace };
  readonly scale?: number;
  /** "normed": what is added to is norm(h). Default: h. */
  readonly residual?: "input" | "normed";
  /** Name of a tensor of one entry. */
  readonly gain?: string;
}

export interface Branch {
  readonly before: Norm | null;
  readonly module: Module;
  readonly behind: Norm | null;
}

/** What a layer computes between its norms. Each kind is written by its entry in write-decoder.ts. */
export type Module = Attention | Mlp | Experts | DeltaNet | PerLayerInput;
