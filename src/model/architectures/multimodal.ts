/** The language model inside one that also sees or hears: its part of config.json. Images and sound are not run. */

import { bad, present, type RawConfig } from "./config-fields.ts";

/** By the name of the class: `model_type` of the file, and that of the text part if it does not say. */
export const MULTIMODAL: Readonly<Record<string, readonly [modelType: string, text: string]>> = {
  Gemma3ForConditionalGeneration: ["gemma3", "gemma3_text"],
  Gemma4ForConditionalGeneration: ["gemma4", "gemma4_text"],
  Qwen2VLForConditionalGeneration: ["qwen2_vl", "qwen2"],
  Qwen2_5_VLForConditionalGeneration: ["qwen2_5_vl", "qwen2"],
  Qwen3VLForConditionalGeneration: ["qwen3_vl", "qwen3"],
  Qwen3_5ForConditionalGeneration: ["qwen3_5", "qwen3_5_text"],
  Mistral3ForConditionalGeneration: ["mistral3", "mistral"],
  LlavaForConditionalGeneration: ["llava", "llama"],
  InternVLForConditionalGeneration: ["internvl", "qwen2"],
  Idefics3ForConditionalGeneration: ["idefics3", "llama"],
  SmolVLMForConditionalGeneration: ["smolvlm", "llama"],
};

/** Text parts that differ from these families in how positions of images are counted, and in text alone in nothing. */
const SAME_TEXT: Readonly<Record<string, string>> = {
  qwen2_vl_text: "qwen2",
  qwen2_5_vl_text: "qwen2",
  qwen3_vl_text: "qwen3",
};

export interface TextPart {
  /** `model_type` of a family. */
  readonly modelType: string;
  /** What that family reads. */
  readonly raw: RawConfig;
  /** Neither part says whether the logits use the embedding. */
  readonly isTieUnsaid: boolean;
}

/** undefined: the file is that of a language model alone. @throws TacetError bad_checkpoint */
export function textPart(raw: RawConfig): TextPart | undefined {
  const named = Array.isArray(raw.architectures) ? raw.architectures[0] : undefined;
  const found = Object.entries(MULTIMODAL).find(([name, [modelType]]) =>
    named === undefined ? raw.model_type === modelType : named === name,
  );
  if (!found) return undefined;
  const [, [modelType, ownText]] = found;
  if (present(raw.model_type) && raw.model_type !== modelType) {
    throw bad("model_type", `is not that of ${found[0]}, ${modelType}`);
  }
  // Older files have the fields of the text beside those of the pictures.
  const { vision_config, audio_config, text_config, ...beside } = raw;
  if (present(text_config) && (typeof text_config !== "object" || Array.isArray(text_config))) {
    throw bad("text_config", "is not an object");
  }
  const text = present(text_config) ? (text_config as RawConfig) : beside;
  const said = present(text_config) ? text.model_type : undefined;
  const family = present(said) ? String(said) : ownText;
  // The whole model ties its head, or does not, whatever its part says; but for LLaVA's, whose files had it there.
  const isTiedByPart = modelType === "llava" && text.tie_word_embeddings === true;
  const tied = isTiedByPart ? true : raw.tie_word_embeddings;
  return {
    modelType: SAME_TEXT[family] ?? family,
    raw: present(tied) ? { ...text, tie_word_embeddings: tied } : text,
    isTieUnsaid: !present(tied),
  };
}
