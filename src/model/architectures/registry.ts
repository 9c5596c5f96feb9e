/** The families that run, and which of them a config.json speaks of. */

import { TacetError } from "../../base/errors.ts";
import type { Decoder } from "../graph/decoder.ts";
import type { Architecture } from "./architecture.ts";
import { chatGlm } from "./chatglm.ts";
import { demand, type RawConfig } from "./config-fields.ts";
import { gpt2 } from "./gpt2.ts";
import { llama, mistral, qwen2, qwen3 } from "./llama.ts";

const ARCHITECTURES: readonly Architecture[] = [llama, mistral, qwen2, qwen3, ...chatGlm, gpt2];

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
  const value = (JSON.stringify(named ?? raw.model_type) ?? "missing").slice(0, 80);
  throw new TacetError("unsupported_model", `config.json: ${field} = ${value} is not supported`, {
    hint: `supported: ${ARCHITECTURES.map(({ name }) => name).join(", ")}`,
  });
}

/**
 * The decoder of a checkpoint.
 *
 * @throws TacetError unsupported_model, bad_checkpoint
 */
export function describeDecoder({ config }: { readonly config: RawConfig }): Decoder {
  return architectureOf(config).describe(config);
}
