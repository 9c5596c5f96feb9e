/** Mistral: a Llama whose tokens see a window of the context. */

import { oneWindow } from "./llama-config.ts";
import { llamaArchitecture } from "./llama-family.ts";

export const mistral = llamaArchitecture(
  { name: "MistralForCausalLM", modelType: "mistral" },
  {
    defaults: { hiddenSize: 4096, mlpSize: 14336, vocabSize: 32000, trainedContext: 131072 },
    attentionBias: "none",
    mlpBias: "none",
    normedHeads: false,
    windows: oneWindow,
  },
);
