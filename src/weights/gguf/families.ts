/**
 * The families that llama.cpp has under `general.architecture` and that run here: what their tensors are called, and
 * which fields of config.json their metadata becomes. Sources: the converter of llama.cpp, and the classes of transformers.
 */

import type { Family } from "./families/family.ts";
import { GEMMA_FAMILIES } from "./families/gemma.ts";
import { GLM_FAMILIES } from "./families/glm.ts";
import { GPT_OSS_FAMILIES } from "./families/gpt-oss.ts";
import { GRANITE_FAMILIES } from "./families/granite.ts";
import { LAYER_NORM_FAMILIES } from "./families/layer-norm.ts";
import { LLAMA_FAMILIES } from "./families/llama.ts";
import { OLMO_FAMILIES } from "./families/olmo.ts";
import { OTHER_FAMILIES } from "./families/others.ts";
import { PHI_FAMILIES } from "./families/phi.ts";
import { QWEN_FAMILIES } from "./families/qwen.ts";
import { QWEN35_FAMILIES } from "./families/qwen3-5.ts";
import type { Metadata } from "./metadata.ts";

/** Of several with one name in llama.cpp, those that are told by something come first. */
export const FAMILIES: readonly Family[] = [
  ...LLAMA_FAMILIES,
  ...QWEN_FAMILIES,
  ...QWEN35_FAMILIES,
  ...GEMMA_FAMILIES,
  ...PHI_FAMILIES,
  ...GLM_FAMILIES,
  ...GRANITE_FAMILIES,
  ...OLMO_FAMILIES,
  ...GPT_OSS_FAMILIES,
  ...LAYER_NORM_FAMILIES,
  ...OTHER_FAMILIES,
];

/** Names that `general.architecture` may have. */
export const GGUF_ARCHITECTURES: readonly string[] = [...new Set(FAMILIES.flatMap(({ named }) => named))];

/** undefined: it does not run here. */
export function familyOf(m: Metadata): Family | undefined {
  return FAMILIES.find(({ named, isIt }) => named.includes(m.architecture) && (isIt?.(m) ?? true));
}
