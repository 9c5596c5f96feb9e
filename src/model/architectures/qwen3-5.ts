/** Qwen3.5, the text model: gated delta nets, and attention with a gate in every fourth layer. */

import type { DeltaNet } from "../graph/modules/delta-net.ts";
import type { Architecture } from "./architecture.ts";
import { buildDecoder, type NormKind, normOf } from "./build-decoder.ts";
import { normedHeads, readActivation, readBiases, readRms } from "./common-fields.ts";
import { bad, count, demand, present, type RawConfig, unsupported } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes, type Sizes } from "./sizes.ts";

const LINEAR = "linear_attention";
const FULL = "full_attention";

export const qwen35: Architecture = {
  name: "Qwen3_5ForCausalLM",
  modelType: "qwen3_5_text",
  released: "Qwen3.5",
  describe(raw) {
    refuseRelatives(raw);
    demand(raw, "sliding_window", []);
    const sizes = readSizes(raw, {
      heads: 16,
      kvHeads: 4,
      hiddenSize: 4096,
      mlpSize: 12288,
      vocabSize: 248320,
      trainedContext: 32768,
      headDim: 256,
    });
    const kinds = readKinds(raw, sizes.layers);
    const norm = { ...readRms(raw), plusOne: true };
    // The convolution's activation too.
    demand(raw, "hidden_act", ["silu"]);
    const net = readDeltaNet(raw, sizes, norm);
    return buildDecoder(sizes, {
      norm,
      bias: readBiases(raw, { attention: false }),
      activation: readActivation(raw, "silu"),
      rotary: readRotary(raw, sizes, { share: 0.25 }),
      attention: (_, name) => ({ gated: true, ...normedHeads(name, sizes, norm) }),
      mixer: (layer, name) => (kinds[layer] === LINEAR ? net(layer, name) : undefined),
    });
  },
};

/** The layers that `layer_types` names; else every `full_attention_interval`-th has attention. */
function readKinds(raw: RawConfig, layers: number): readonly unknown[] {
  const every = count(raw, "full_attention_interval", 4);
  if (!present(raw.layer_types)) {
    return Array.from({ length: layers }, (_, layer) => ((layer + 1) % every === 0 ? FULL : LINEAR));
  }
  const types = raw.layer_types;
  if (!Array.isArray(types) || types.length !== layers) {
    throw bad("layer_types", `must have one entry for each of ${layers} layers`);
  }
  const odd = types.findIndex((type) => type !== LINEAR && type !== FULL);
  if (odd >= 0) throw unsupported(`layer_types[${odd}]`, types[odd]);
  return types;
}

function readDeltaNet(
  raw: RawConfig,
  { hiddenSize }: Sizes,
  { epsilon }: NormKind,
): (layer: number, name: string) => DeltaNet {
  const keyHeads = count(raw, "linear_num_key_heads", 16);
  const valueHeads = count(raw, "linear_num_value_heads", 32);
  if (valueHeads % keyHeads !== 0) {
    throw bad("linear_num_value_heads", `${valueHeads} is not a multiple of ${keyHeads} key heads`);
  }
  const keyDim = count(raw, "linear_key_head_dim", 128);
  const valueDim = count(raw, "linear_value_head_dim", 128);
  const taps = count(raw, "linear_conv_kernel_dim", 4, 64);
  if (taps < 2) throw bad("linear_conv_kernel_dim", "must be at least 2");
  const values = valueHeads * valueDim;
  return (layer, name) => {
    const net = `${name}.linear_attn`;
    return {
      kind: "delta-net",
      layer,
      in: {
        layer,
        modules: ["in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a"].map((module) => `${net}.${module}`),
        inFeatures: hiddenSize,
        outFeatures: [2 * keyHeads * keyDim + values, values, valueHeads, valueHeads],
        bias: false,
      },
      keyHeads,
      valueHeads,
      keyDim,
      valueDim,
      convolution: `${net}.conv1d.weight`,
      taps,
      decay: { log: `${net}.A_log`, bias: `${net}.dt_bias` },
      norm: normOf(`${net}.norm`, valueDim, { kind: "rms", epsilon }),
      out: {
        layer,
        modules: [`${net}.out_proj`],
        inFeatures: values,
        outFeatures: [hiddenSize],
        bias: false,
      },
    };
  };
}
