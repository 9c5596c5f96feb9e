import { describe, expect, it } from "vitest";
import { weightsOf } from "../graph/linear-place.ts";
import type { RawConfig } from "./config-fields.ts";
import { describeDecoder } from "./registry.ts";

const text = {
  hidden_size: 48,
  intermediate_size: 64,
  num_attention_heads: 4,
  num_hidden_layers: 2,
  num_key_value_heads: 2,
  vocab_size: 99,
};
const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

describe("the language model of one that sees", () => {
  it("is the family's that its part of config.json names", () => {
    const alone = describeDecoder({ config: { ...text, model_type: "mistral", sliding_window: null } });
    const config = {
      architectures: ["Mistral3ForConditionalGeneration"],
      model_type: "mistral3",
      text_config: { ...text, model_type: "mistral", sliding_window: null },
      vision_config: { model_type: "pixtral" },
    };
    expect(describeDecoder({ config })).toEqual(alone);
  });

  it("is read from older files, whose fields stand beside those of the pictures", () => {
    const rope_scaling = { type: "mrope", mrope_section: [2, 2, 2] };
    const beside = { ...text, use_sliding_window: false, tie_word_embeddings: true };
    const config = {
      architectures: ["Qwen2_5_VLForConditionalGeneration"],
      model_type: "qwen2_5_vl",
      rope_scaling,
      ...beside,
      vision_config: { depth: 1 },
    };
    expect(describeDecoder({ config })).toEqual(
      describeDecoder({ config: { ...beside, model_type: "qwen2" } }),
    );
  });

  it.each<[RawConfig, boolean, string]>([
    [{ tie_word_embeddings: true }, true, "model.embed_tokens.weight"],
    [{ tie_word_embeddings: false }, false, "lm_head.weight"],
    [{}, true, "lm_head.weight"],
    [{}, false, "model.embed_tokens.weight"],
  ])("has a head of its own if the file says so, or else has one: %o, %s", (fields, has, weight) => {
    const config = { model_type: "gemma3", text_config: { ...text, model_type: "gemma3_text" }, ...fields };
    expect(weightsOf(describeDecoder({ config, has: () => has }).head.place)).toEqual([weight]);
  });

  it.each([
    ["llava", "llama", true],
    ["mistral3", "mistral", false],
  ])("of %s shares the head where its own part alone says so: %s, %s", (modelType, family, isShared) => {
    const own = { ...text, model_type: family, sliding_window: null, tie_word_embeddings: true };
    const config = { model_type: modelType, text_config: own, tie_word_embeddings: false };
    const weights = weightsOf(describeDecoder({ config, has: () => true }).head.place);
    expect(weights).toEqual([isShared ? "model.embed_tokens.weight" : "lm_head.weight"]);
  });

  it("is refused where it is of no family here, or would give other logits by itself", () => {
    const of = (fields: RawConfig) => () =>
      describeDecoder({ config: { model_type: "llava", text_config: fields } });
    expect(of({ ...text, model_type: "t5" })).toThrow(
      refusal("unsupported_model", /text_config.model_type = "t5"/),
    );
    expect(of({ ...text, model_type: "cohere2" })).toThrow(refusal("unsupported_model", /scale or a cap/));
    expect(() => describeDecoder({ config: { architectures: ["Llama4ForConditionalGeneration"] } })).toThrow(
      refusal("unsupported_model", /Llama4/),
    );
    expect(() => describeDecoder({ config: { model_type: "llava", text_config: [] } })).toThrow(
      refusal("bad_checkpoint", /text_config is not an object/),
    );
  });
});
