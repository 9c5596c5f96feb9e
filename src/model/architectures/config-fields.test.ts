/**
 * Nothing in config.json is ignored in silence: every field of every class, changed as `tools/make-config-fields.py` has
 * changed it, with what transformers' own model made of the change.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TacetError } from "../../base/errors.ts";
import type { RawConfig } from "./config-fields.ts";
import { MULTIMODAL } from "./multimodal.ts";
import { ARCHITECTURES, describeDecoder } from "./registry.ts";

type Effect = "none" | "logits" | "weights" | "invalid";

interface Walk {
  readonly base: RawConfig;
  readonly changes: readonly (readonly [field: string, value: unknown, effect: Effect])[];
}

const MADE = JSON.parse(readFileSync("test/fixtures/config-fields.json", "utf8")) as Record<string, Walk>;
const WALKS: Record<string, Walk> = {
  ...MADE,
  "mpt, as it was published": { ...MADE.mpt, base: { ...MADE.mpt.base, architectures: ["MPTForCausalLM"] } },
};

/** Of a model that also sees the fields are those of its part for text. */
function changed(base: RawConfig, field: string, value: unknown): RawConfig {
  const { text_config } = base;
  return text_config === undefined
    ? { ...base, [field]: value }
    : { ...base, text_config: { ...(text_config as RawConfig), [field]: value } };
}

/** What a file says, as text, or the error that refuses it. */
function read(config: RawConfig): string | TacetError {
  try {
    const { trainedContext: _, ...decoder } = describeDecoder({ config });
    return JSON.stringify(decoder);
  } catch (error) {
    if (error instanceof TacetError) return error;
    throw error;
  }
}

/** Refused though transformers computes the same: the part of the error that says why, by field. */
const STRICT: Readonly<Record<string, readonly string[]>> = {
  // A class that has no use for a setting ignores it; a file that has it was made for something else.
  rope_parameters: ["rope_parameters.", "partial_rotary_factor"],
  use_bidirectional_attention: ["use_bidirectional_attention"],
  hidden_act: ["hidden_act"],
  attn_logit_softcapping: ["attn_logit_softcapping"],
  // Left out where the language model is part of another one.
  final_logit_softcapping: ["a scale or a cap of the logits"],
  // The record of the rotation says another one, and counts.
  partial_rotary_factor: ["is said twice"],
  use_sliding_window: ["sliding_window must be a positive integer"],
  // What a class has no use for, and a checkpoint's own code would have.
  sliding_window: ["sliding_window"],
  no_bias: ["no_bias"],
  expansion_ratio: ["expansion_ratio"],
  norm_type: ["norm_type"],
  logit_scale: ["logit_scale"],
  attn_config: ["attn_config."],
  // Said twice, under both names.
  num_experts: ["num_local_experts"],
};

/** Read though thirteen tokens do not show it. */
function isMeant(field: string, value: string): boolean {
  // The file then has a separate head, here with the same numbers; dynamic angles limit the context.
  return (
    field === "tie_word_embeddings" || field === "max_position_embeddings" || value.includes('"dynamic"')
  );
}

describe.each(Object.entries(WALKS))("%s", (_, { base, changes }) => {
  const plain = read(base);

  it("is read as it is", () => expect(plain).toBeTypeOf("string"));

  it.each(changes.map(([field, value, effect]) => [field, JSON.stringify(value), effect] as const))(
    "%s = %s (effect: %s)",
    (field, value, effect) => {
      const got = read(changed(base, field, JSON.parse(value)));
      if (got instanceof TacetError) {
        expect(["unsupported_model", "bad_checkpoint"]).toContain(got.code);
        expect(got.message).toMatch(/^config\.json: \w/);
        if (effect === "none") {
          const allowed = STRICT[field] ?? [];
          expect(
            allowed.some((name) => got.message.includes(name)),
            got.message,
          ).toBe(true);
        }
      } else if (effect === "logits" || effect === "weights") {
        expect(got, "ignored, and transformers gives something else").not.toBe(plain);
      } else if (effect === "none" && !isMeant(field, value)) {
        expect(got, "changes what transformers leaves alone").toBe(plain);
      }
    },
  );
});

it("walks every family, and every model that also sees", () => {
  const walked = new Set(Object.values(WALKS).map(({ base }) => (base.architectures as string[])[0]));
  const names = [...ARCHITECTURES.map(({ name }) => name), ...Object.keys(MULTIMODAL)];
  // transformers has no ChatGLM of this kind: its fields are walked in chatglm.test.ts.
  expect(names.filter((name) => !walked.has(name))).toEqual([
    "ChatGLMModel",
    "ChatGLMForConditionalGeneration",
  ]);
});
