/** config.json as transformers wrote it before version 5 says the same as what it writes now. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { goldenHfFolder, goldenHfNames } from "../../../test/support/golden-hf.ts";
import type { RawConfig } from "./config-fields.ts";
import { describeDecoder } from "./registry.ts";

type Config = Record<string, unknown>;

const SLIDING = "sliding_attention";

/** `rope_theta` and `rope_scaling`, with `type`; the share of a head that is turned beside them. */
function olderRope(rope: RawConfig): Config {
  const { rope_theta, rope_type, type: _, partial_rotary_factor, ...scaling } = rope;
  const isPlain = rope_type === "default";
  return {
    rope_theta,
    ...(partial_rotary_factor === undefined ? {} : { partial_rotary_factor }),
    rope_scaling: isPlain ? null : { type: rope_type, ...scaling },
  };
}

/** What a model with a record for each kind of layers had instead. */
function olderRopes(model: unknown, ropes: Readonly<Record<string, RawConfig>>): Config {
  const { full_attention: full, sliding_attention: local } = ropes;
  if (model === "gemma3_text") return { ...olderRope(full), rope_local_base_freq: local.rope_theta };
  return olderRope(full);
}

/** The layers with a window in a number, where one says it. */
function olderLayers(types: readonly string[], model: unknown): Config {
  const period = types.findIndex((type) => type !== SLIDING) + 1 || 4;
  const isPattern = types.every((type, i) => (type === SLIDING) === ((i + 1) % period !== 0));
  if (model === "gemma2" || model === "qwen2" || model === "smollm3" || model === "qwen3") return {};
  return isPattern ? { sliding_window_pattern: period } : { layer_types: types };
}

function olderSpelling(config: RawConfig): Config {
  const { dtype, transformers_version: _, rope_parameters: rope, layer_types, ...rest } = config;
  const model = config.model_type;
  const older: Config = { ...rest, torch_dtype: dtype };
  if (Array.isArray(layer_types)) Object.assign(older, olderLayers(layer_types, model));
  if (rope) {
    const isByKind = Object.values(rope).some((value) => typeof value === "object" && !Array.isArray(value));
    Object.assign(
      older,
      isByKind ? olderRopes(model, rope as Record<string, RawConfig>) : olderRope(rope as RawConfig),
    );
  }
  if (model === "gpt_neox") {
    older.rotary_pct = older.partial_rotary_factor;
    older.rotary_emb_base = older.rope_theta;
    older.partial_rotary_factor = undefined;
    older.rope_theta = undefined;
  }
  return JSON.parse(JSON.stringify(older));
}

/** Families of transformers 5 have no older spelling of their rotations or their kinds of layers. */
const NEWER = ["gemma4_text", "gpt_oss", "qwen3_5_text"];

const cases = goldenHfNames().map(
  (name) => [name, JSON.parse(readFileSync(join(goldenHfFolder(name), "config.json"), "utf8"))] as const,
);

describe.each(cases.filter(([, { model_type, text_config }]) => !text_config && !NEWER.includes(model_type)))(
  "%s",
  (_, config) => {
    it("says the same in the older spelling", () => {
      const older = olderSpelling(config);
      expect(older).not.toHaveProperty("rope_parameters");
      expect(describeDecoder({ config: older })).toEqual(describeDecoder({ config }));
    });

    it("says the same without `architectures`", () => {
      const { architectures: _, ...rest } = config;
      expect(describeDecoder({ config: rest })).toEqual(describeDecoder({ config }));
    });
  },
);
