/** Gemma 4, the text part of the dense ones: other heads in full layers, and a separate embedding for each layer. */

import type { Rotary } from "../graph/blocks/rotary-tables.ts";
import type { Block, PerLayerEmbedding } from "../graph/decoder.ts";
import type { Attention } from "../graph/modules/attention.ts";
import type { Architecture } from "./architecture.ts";
import { buildDecoder, FOUR_NORMS, type NormKind, normOf } from "./build-decoder.ts";
import { normedHeads, readActivation, readBiases, readRms } from "./common-fields.ts";
import {
  bad,
  count,
  demand,
  flag,
  positive,
  positiveOrNone,
  present,
  type RawConfig,
  unsupported,
} from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotaryOf } from "./rotary-config.ts";
import { readSizes, type Sizes } from "./sizes.ts";
import { patternWindow, windowIn } from "./sliding-window.ts";

export const gemma4: Architecture = {
  name: "Gemma4ForCausalLM",
  modelType: "gemma4_text",
  released: "Gemma 4, the dense ones",
  describe(raw) {
    refuseRelatives(raw, ["final_logit_softcapping", "num_experts"]);
    demand(raw, "enable_moe_block", [false]);
    demand(raw, "use_bidirectional_attention", ["vision"]); // of pictures alone
    const sizes = readSizes(raw, {
      layers: 30,
      heads: 8,
      kvHeads: 4,
      headDim: 256,
      hiddenSize: 2304,
      mlpSize: 9216,
      vocabSize: 262144,
      trainedContext: 131072,
      tiedHead: true,
    });
    const norm = readRms(raw);
    const activation = readActivation(raw, "gelu_pytorch_tanh", "hidden_activation");
    const finalCap = positiveOrNone(raw, "final_logit_softcapping", null);
    const layerOf = readLayers(raw, sizes, norm);
    const isWide = flag(raw, "use_double_wide_mlp", false);
    const perLayer = readPerLayer(raw, sizes, norm);
    return buildDecoder(sizes, {
      names: { norms: FOUR_NORMS },
      norm,
      bias: readBiases(raw, { attention: false }),
      activation,
      attention: layerOf,
      mlpSize: (layer) =>
        isWide && layerOf(layer, "").keysFrom !== undefined ? 2 * sizes.mlpSize : sizes.mlpSize,
      embedding: { scale: Math.sqrt(sizes.hiddenSize), ...(perLayer ? { perLayer } : {}) },
      head: finalCap === undefined ? {} : { softCap: finalCap },
      more: (layer, name) => [lastBlock(layer, name, sizes, { norm, activation, perLayer })],
    });
  },
};

/** The layer's part of the second embedding if there is one; then all is multiplied by a number of the layer. */
function lastBlock(
  layer: number,
  name: string,
  { hiddenSize }: Sizes,
  {
    norm,
    activation,
    perLayer,
  }: {
    readonly norm: NormKind;
    readonly activation: ReturnType<typeof readActivation>;
    readonly perLayer: PerLayerEmbedding | undefined;
  },
): Block {
  const gain = `${name}.layer_scalar`;
  if (!perLayer) return { branches: [], gain };
  const place = (module: string, inFeatures: number, outFeatures: number) => ({
    layer,
    modules: [`${name}.${module}`],
    inFeatures,
    outFeatures: [outFeatures],
    bias: false,
  });
  const branch = {
    before: null,
    module: {
      kind: "per-layer-input" as const,
      layer,
      in: place("per_layer_input_gate", hiddenSize, perLayer.width),
      activation,
      out: place("per_layer_projection", perLayer.width, hiddenSize),
    },
    behind: normOf(`${name}.post_per_layer_input_norm`, hiddenSize, norm),
  };
  return { branches: [branch], gain };
}

function readPerLayer(
  raw: RawConfig,
  { layers, hiddenSize }: Sizes,
  norm: NormKind,
): PerLayerEmbedding | undefined {
  if (raw.hidden_size_per_layer_input === 0) return undefined;
  const width = count(raw, "hidden_size_per_layer_input", 256);
  count({ columns: layers * width }, "columns");
  return {
    weight: "model.embed_tokens_per_layer.weight",
    rows: count(raw, "vocab_size_per_layer_input", 262144),
    width,
    hiddenSize,
    projection: "model.per_layer_model_projection.weight",
    norm: normOf("model.per_layer_projection_norm", width, norm),
  };
}

/** Attention of each layer: a window and small heads, or all keys and large ones; the last ones read earlier keys. */
function readLayers(raw: RawConfig, sizes: Sizes, norm: NormKind) {
  const { layers } = sizes;
  const window = patternWindow(6, 512)(raw, layers);
  // The last layer sees all, whatever the file says of it.
  const isFull = (layer: number): boolean => layer === layers - 1 || windowIn(window, layer) === null;
  const keysAreValues = flag(raw, "attention_k_eq_v", false);
  const isShared = present(raw.num_kv_shared_layers) && raw.num_kv_shared_layers !== 0;
  const shared = isShared ? count(raw, "num_kv_shared_layers", 0, layers - 1) : 0;
  const full = readFullSizes(raw, sizes, isFull, keysAreValues);
  const rotary = {
    full: readFullRotary(raw, { ...full, trainedContext: sizes.trainedContext }),
    local: readRotaryOf(raw, "sliding_attention", sizes, {}),
  };
  return (layer: number, name: string): Partial<Attention> => {
    const size = isFull(layer) ? full : { headDim: sizes.headDim, kvHeads: sizes.kvHeads };
    const kept = layers - shared;
    const heads = normedHeads(name, size, norm).normed!;
    return {
      ...size,
      scale: 1,
      window: isFull(layer) ? null : windowIn(window, layer),
      rotary: isFull(layer) ? rotary.full : rotary.local,
      normed: { ...heads, v: { kind: "rms", weight: null, width: size.headDim, epsilon: norm.epsilon } },
      ...(keysAreValues && isFull(layer) ? { valuesAreKeys: true } : {}),
      ...(layer < kept ? {} : { keysFrom: lastOfKind(kept, isFull(layer), isFull) }),
    };
  };
}

function lastOfKind(before: number, full: boolean, isFull: (layer: number) => boolean): number {
  for (let layer = before - 1; layer >= 0; layer--) if (isFull(layer) === full) return layer;
  throw bad("num_kv_shared_layers", "leaves no layer of a kind whose keys the last ones could read");
}

interface FullSizes {
  readonly headDim: number;
  readonly kvHeads: number;
}

/** Heads of the layers that see all: two fields, or since transformers 5 what differs by layer. */
function readFullSizes(
  raw: RawConfig,
  sizes: Sizes,
  isFull: (layer: number) => boolean,
  keysAreValues: boolean,
): FullSizes {
  const byLayer = raw.per_layer_config;
  if (!present(byLayer)) {
    const headDim = count(raw, "global_head_dim", 512);
    if (!keysAreValues) return { headDim, kvHeads: sizes.kvHeads };
    return { headDim, kvHeads: count(raw, "num_global_key_value_heads", sizes.kvHeads) };
  }
  if (typeof byLayer !== "object") throw bad("per_layer_config", "is not an object");
  const found = new Map<string, FullSizes>();
  for (let layer = 0; layer < sizes.layers; layer++) {
    const entry = Object.entries(byLayer as RawConfig).find(([key]) => Number(key) === layer)?.[1] ?? {};
    const { head_dim, num_key_value_heads, ...others } = entry as RawConfig;
    const [other] = Object.keys(others);
    if (other !== undefined) throw unsupported(`per_layer_config.${layer}.${other}`, others[other]);
    const size = {
      headDim: count({ head_dim }, "head_dim", sizes.headDim),
      kvHeads: count({ num_key_value_heads }, "num_key_value_heads", sizes.kvHeads),
    };
    const isOwn = size.headDim !== sizes.headDim || size.kvHeads !== sizes.kvHeads;
    if (isFull(layer)) found.set(JSON.stringify(size), size);
    else if (isOwn) throw unsupported(`per_layer_config.${layer}`, entry);
  }
  if (found.size > 1) throw unsupported("per_layer_config", byLayer);
  return [...found.values()][0];
}

/** "proportional": angles as if all of a head were turned, of which only the first share is. */
function readFullRotary(raw: RawConfig, sizes: Pick<Sizes, "headDim" | "trainedContext">): Rotary {
  const { headDim } = sizes;
  const all = raw.rope_parameters as RawConfig | null | undefined;
  const own = (present(all) ? all?.full_attention : FULL_ROPE) as RawConfig | null | undefined;
  if (!present(own) || own?.rope_type !== "proportional") {
    return readRotaryOf(raw, "full_attention", sizes, {}, { theta: 1e6 });
  }
  const field = "rope_parameters.full_attention";
  const share = positive(own, "partial_rotary_factor", 1, field);
  const scaling = {
    kind: "proportional",
    factor: positive(own, "factor", 1, field),
    pairs: Math.floor((share * headDim) / 2),
  } as const;
  return {
    rope: { theta: positive(own, "rope_theta", 1e6, field), scaling },
    dims: headDim,
    pairs: "halves",
  };
}

const FULL_ROPE = { rope_type: "proportional", partial_rotary_factor: 0.25, rope_theta: 1e6 };
