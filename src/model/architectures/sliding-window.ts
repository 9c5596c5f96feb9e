/** Attention that sees only the latest keys: which layers have it, as each family reads it from config.json. */

import { bad, count, demand, flag, present, type RawConfig, unsupported } from "./config-fields.ts";

export interface SlidingWindow {
  /** How many keys a token sees, itself the last. */
  readonly tokens: number;
  /** The layers that have the window, 0-based; the others see all. */
  readonly layers: readonly number[];
}

/** null: every layer sees all. */
export type ReadWindow = (raw: RawConfig, layers: number) => SlidingWindow | null;

const SLIDING = "sliding_attention";
const FULL = "full_attention";

/** Llama: none. A file that names one was made for something else. */
export const noWindow: ReadWindow = (raw, layers) => {
  if (raw.use_sliding_window !== false) {
    demand(raw, "use_sliding_window", []);
    demand(raw, "sliding_window", []);
  }
  return repeated(raw, layers, null);
};

/**
 * One for all layers, none if the file says null.
 *
 * @param fallback if the file does not say
 */
export function oneWindow(fallback: number | null): ReadWindow {
  return (raw, layers) => {
    demand(raw, "use_sliding_window", [true]);
    demand(raw, "max_window_layers", [0]);
    const said = raw.sliding_window === undefined ? fallback : raw.sliding_window;
    if (said === null) return repeated(raw, layers, null);
    const tokens = count(raw, "sliding_window", fallback ?? undefined);
    return repeated(raw, layers, { tokens, layers: Array.from({ length: layers }, (_, layer) => layer) });
  };
}

/**
 * Qwen: with `use_sliding_window`, the layers that `layer_types` names; in files from before it, those from
 * `max_window_layers` on.
 */
export const laterWindow: ReadWindow = (raw, layers) =>
  askedWindow(raw, layers, () => {
    const first = raw.max_window_layers === 0 ? 0 : count(raw, "max_window_layers", 28);
    return (layer) => layer >= first;
  });

/**
 * With `use_sliding_window` and a `sliding_window`, the layers that `layer_types` names; without it, those that
 * `others` gives.
 */
export function askedWindow(
  raw: RawConfig,
  layers: number,
  others: () => (layer: number) => boolean,
): SlidingWindow | null {
  const used = flag(raw, "use_sliding_window", false) && raw.sliding_window !== null;
  const types = layerTypes(raw, layers);
  if (!used) {
    if (!types?.includes(SLIDING)) return null;
    throw bad("layer_types", `has ${SLIDING} layers, but use_sliding_window or sliding_window is off`);
  }
  const tokens = count(raw, "sliding_window", 4096);
  const has = types ? (layer: number) => types[layer] === SLIDING : others();
  const chosen = Array.from({ length: layers }, (_, layer) => layer).filter(has);
  return chosen.length === 0 ? null : { tokens, layers: chosen };
}

/**
 * Those layers that `layer_types` names; in files from before it, all but each `every`-th, of which the file may say
 * another number (`sliding_window_pattern`).
 *
 * @param tokens if the file does not say; null: then there is no window
 */
export function patternWindow(every: number, tokens: number | null): ReadWindow {
  return (raw, layers) => {
    demand(raw, "use_sliding_window", [true]);
    const types = layerTypes(raw, layers);
    const said = raw.sliding_window === undefined ? tokens : raw.sliding_window;
    if (said === null) {
      if (!types?.includes(SLIDING)) return null;
      throw bad("layer_types", `has ${SLIDING} layers, but sliding_window is off`);
    }
    const window = count(raw, "sliding_window", tokens ?? undefined);
    const period = types ? 0 : count(raw, "sliding_window_pattern", every);
    const chosen = Array.from({ length: layers }, (_, layer) => layer).filter((layer) =>
      types ? types[layer] === SLIDING : (layer + 1) % period !== 0,
    );
    return chosen.length === 0 ? null : { tokens: window, layers: chosen };
  };
}

/** How many keys a token sees in a layer, itself the last; null: all. */
export function windowIn(window: SlidingWindow | null, layer: number): number | null {
  return window?.layers.includes(layer) ? window.tokens : null;
}

/** Where the family decides alone, `layer_types` may only repeat it. */
function repeated(raw: RawConfig, layers: number, window: SlidingWindow | null): SlidingWindow | null {
  const types = layerTypes(raw, layers) ?? [];
  const odd = types.findIndex(
    (type, layer) => (type === SLIDING) !== (window?.layers.includes(layer) ?? false),
  );
  if (odd >= 0) throw unsupported(`layer_types[${odd}]`, types[odd]);
  return window;
}

/** @throws TacetError bad_checkpoint for another number of them, unsupported_model for another kind */
function layerTypes(raw: RawConfig, layers: number): readonly string[] | undefined {
  const types = raw.layer_types;
  if (!present(types)) return undefined;
  if (!Array.isArray(types) || types.length !== layers) {
    throw bad("layer_types", `must have one entry for each of ${layers} layers`);
  }
  const odd = types.findIndex((type) => type !== SLIDING && type !== FULL);
  if (odd >= 0) throw unsupported(`layer_types[${odd}]`, types[odd]);
  return types as string[];
}
