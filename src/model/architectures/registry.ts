/** The families that run, and which of them a config.json speaks of. */

import { TacetError } from "../../base/errors.ts";
import { weightsOf } from "../graph/linear-place.ts";
import type { Decoder } from "../graph/decoder.ts";
import type { Architecture } from "./architecture.ts";
import { bloom } from "./bloom.ts";
import { chatGlm } from "./chatglm.ts";
import { cohere2 } from "./cohere2.ts";
import { demand, type RawConfig, unsupported } from "./config-fields.ts";
import { ernie45 } from "./ernie4-5.ts";
import { exaone4 } from "./exaone4.ts";
import { falcon } from "./falcon.ts";
import { gemma, gemma2, gemma3 } from "./gemma.ts";
import { gemma4 } from "./gemma4.ts";
import { glm, glm4 } from "./glm.ts";
import { gptNeoX } from "./gpt-neox.ts";
import { gpt2 } from "./gpt2.ts";
import { gptOss } from "./gpt-oss.ts";
import { granite } from "./granite.ts";
import { graniteMoe } from "./granite-moe.ts";
import { hunyuanDense } from "./hunyuan.ts";
import { llama, mistral, qwen2, qwen3 } from "./llama.ts";
import { ministral3 } from "./ministral3.ts";
import { mixtral } from "./mixtral.ts";
import { mpt } from "./mpt.ts";
import { MULTIMODAL, textPart } from "./multimodal.ts";
import { nemotron } from "./nemotron.ts";
import { olmo2, olmo3 } from "./olmo.ts";
import { olmoe } from "./olmoe.ts";
import { opt } from "./opt.ts";
import { phi, phi3 } from "./phi.ts";
import { qwen35 } from "./qwen3-5.ts";
import { qwen2Moe, qwen3Moe } from "./qwen-moe.ts";
import { seedOss } from "./seed-oss.ts";
import { smollm3 } from "./smollm3.ts";
import { stableLm } from "./stablelm.ts";
import { starcoder2 } from "./starcoder2.ts";

export const ARCHITECTURES: readonly Architecture[] = [
  llama,
  mistral,
  ministral3,
  mixtral,
  qwen2,
  qwen2Moe,
  qwen3,
  qwen3Moe,
  qwen35,
  gptOss,
  gemma,
  gemma2,
  gemma3,
  gemma4,
  phi,
  phi3,
  glm,
  glm4,
  ...chatGlm,
  olmo2,
  olmo3,
  olmoe,
  granite,
  graniteMoe,
  smollm3,
  stableLm,
  starcoder2,
  nemotron,
  cohere2,
  exaone4,
  ernie45,
  hunyuanDense,
  seedOss,
  falcon,
  gptNeoX,
  gpt2,
  opt,
  bloom,
  ...mpt,
];

/** @throws TacetError unsupported_model for a family that is not known, or a model_type that is not the family's */
export function architectureOf(raw: RawConfig): Architecture {
  const named = Array.isArray(raw.architectures) ? raw.architectures[0] : undefined;
  const found = ARCHITECTURES.find(({ name, modelType }) =>
    named === undefined ? raw.model_type === modelType : named === name,
  );
  // transformers goes by the one, other programs by the other.
  if (found) demand(raw, "model_type", [found.modelType]);
  if (found) return found;
  const field = named === undefined ? "model_type" : "architectures";
  throw notKnown(field, named ?? raw.model_type);
}

function notKnown(field: string, value: unknown): TacetError {
  const said = (JSON.stringify(value) ?? "missing").slice(0, 80);
  const known = [...ARCHITECTURES.map(({ name }) => name), ...Object.keys(MULTIMODAL)];
  return new TacetError("unsupported_model", `config.json: ${field} = ${said} is not supported`, {
    hint: `supported: ${known.join(", ")}`,
  });
}

/**
 * The decoder of a checkpoint, of one that also sees or hears its language model.
 *
 * @param checkpoint `has` decides whether there is a separate head, where config.json does not say
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function describeDecoder(checkpoint: {
  readonly config: RawConfig;
  readonly has?: (tensor: string) => boolean;
}): Decoder {
  const { config } = checkpoint;
  const text = textPart(config);
  if (!text) return architectureOf(config).describe(config);
  const family = ARCHITECTURES.find(({ modelType }) => modelType === text.modelType);
  if (!family) throw notKnown("text_config.model_type", text.modelType);
  const decoder = family.describe(text.raw);
  // transformers leaves them out where the language model is part of another; only Gemma 4 keeps its cap.
  const { scale = 1, softCap } = decoder.head;
  const isPlain = scale === 1 && softCap === undefined;
  if (!isPlain && family !== gemma4) throw unsupported("text_config", "a scale or a cap of the logits");
  if (!text.isTieUnsaid || !checkpoint.has) return decoder;
  const { embedding, head } = decoder;
  const [module] = head.place.modules;
  const own = `${module}.weight`;
  const weights = checkpoint.has(own) ? [own] : weightsOf(embedding.place);
  return { ...decoder, head: { ...head, place: { ...head.place, weights } } };
}
