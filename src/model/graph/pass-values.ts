/** The values that every forward pass is given and gives, by name: what graphs and whoever runs them agree on. */

import type { Value } from "./onnx-graph.ts";

/** Names of the tensors that every pass is given, and of the one that it is for. */
export const IDS = "ids";
export const PAST = "past";
export const TOTAL = "total";
export const FIRST_ROW = "first_row";
export const TABLE_START = "table_start";
export const LOGITS = "logits";

/** Names of a layer's graph inputs, (1, kvHeads, capacity, headDim) of that layer. */
export const pastKeyName = (layer: number): string => `past.${layer}.key`;
export const pastValueName = (layer: number): string => `past.${layer}.value`;

/** Name of a layer's graph output: the new tokens' keys, then their values, (1, 2·kvHeads, tokens, headDim). */
export const newRowsName = (layer: number): string => `new.${layer}`;

/** Names of outputs instead of it: all of the layer's keys, and values, (1, kvHeads, capacity, headDim). */
export const presentKeyName = (layer: number): string => `present.${layer}.key`;
export const presentValueName = (layer: number): string => `present.${layer}.value`;

/** What the caller of each run gives. T tokens are read. */
export interface PassInputs {
  /** (1, T) int64 */
  readonly ids: Value;
  /** (1) int32: tokens in the cache. */
  readonly past: Value;
  /** (1) int32: past + T. */
  readonly total: Value;
  /** (1) int64: logits are made for the rows from this one on; -1 is the last row only. */
  readonly firstRow: Value;
  /** (1) int32: row of the rotary tables that position 0 has, where there is one table for short contexts and one for long. */
  readonly tableStart: Value;
  /** Positions that the rotary tables must cover. */
  readonly maxPositions: number;
}

/** Names of a layer's states before and behind the new tokens, by their order in the layer's cache. */
export const pastStateName = (layer: number, index: number): string => `${PAST_STATE}${layer}.${index}`;
export const newStateName = (layer: number, index: number): string => `${NEW_STATE}${layer}.${index}`;
export const isPastStateName = (name: string): boolean => name.startsWith(PAST_STATE);
export const isNewStateName = (name: string): boolean => name.startsWith(NEW_STATE);
const PAST_STATE = "state.";
const NEW_STATE = "new_state.";

/** What one layer keeps of the tokens that have been read. */
export type LayerCache = KeysAndValues | States;

/** Of each token a key and a value for each kv head. */
export interface KeysAndValues {
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Of all tokens together a few tensors of these sizes, zeros at first. */
export interface States {
  readonly states: readonly (readonly number[])[];
}

/** The memory of keys and values that a model's graphs read. */
export interface CacheShape {
  /** By layer; null: it keeps nothing. */
  readonly layers: readonly (LayerCache | null)[];
  /** Tokens that a cache may grow to. */
  readonly maxTokens: number;
  /** Keys and values stay on the device that the model runs on. Default: false. */
  readonly isOnDevice?: boolean;
  /** A context of more tokens is a long one, and all its tokens are turned otherwise. Default: none is. */
  readonly longFrom?: number | undefined;
}

/** Bytes that all layers keep of a token: 4 for each entry of keys and values. */
export function bytesOfToken({ layers }: Pick<CacheShape, "layers">): number {
  return layers.reduce(
    (sum, layer) => sum + (layer && "kvHeads" in layer ? 2 * layer.kvHeads * layer.headDim * 4 : 0),
    0,
  );
}
