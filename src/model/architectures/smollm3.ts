/** SmolLM3: a Llama of which every fourth layer turns nothing. */

import type { Architecture } from "./architecture.ts";
import { buildDecoder } from "./build-decoder.ts";
import { readActivation, readBiases, readRms } from "./common-fields.ts";
import { bad, count, present, type RawConfig } from "./config-fields.ts";
import { refuseRelatives } from "./relatives.ts";
import { readRotary } from "./rotary-config.ts";
import { readSizes } from "./sizes.ts";
import { askedWindow, windowIn } from "./sliding-window.ts";

export const smollm3: Architecture = {
  name: "SmolLM3ForCausalLM",
  modelType: "smollm3",
  released: "SmolLM3",
  describe(raw) {
    refuseRelatives(raw, ["no_rope_layers"]);
    const sizes = readSizes(raw, {
      layers: 36,
      heads: 16,
      kvHeads: 4,
      hiddenSize: 2048,
      mlpSize: 11008,
      vocabSize: 128256,
      trainedContext: 32768,
      tiedHead: true,
    });
    const rotary = readRotary(raw, sizes, { theta: 2e6 });
    const turns = turningLayers(raw, sizes.layers);
    const window = askedWindow(
      { sliding_window: null, ...raw },
      sizes.layers,
      () => (layer) => !turns[layer],
    );
    return buildDecoder(sizes, {
      norm: readRms(raw),
      bias: readBiases(raw, { attention: false, mlp: false }),
      activation: readActivation(raw, "silu"),
      attention: (layer) => ({
        window: windowIn(window, layer),
        rotary: turns[layer] ? rotary : null,
      }),
    });
  },
};

/** 1 for a layer that turns: `no_rope_layers` is named after the zeros. */
function turningLayers(raw: RawConfig, layers: number): boolean[] {
  const said = raw.no_rope_layers;
  if (!present(said)) {
    const interval = count(raw, "no_rope_layer_interval", 4);
    return Array.from({ length: layers }, (_, layer) => (layer + 1) % interval !== 0);
  }
  if (!Array.isArray(said) || said.length !== layers || said.some((entry) => entry !== 0 && entry !== 1)) {
    throw bad("no_rope_layers", `must have 0 or 1 for each of ${layers} layers`);
  }
  return said.map((entry) => entry === 1);
}
