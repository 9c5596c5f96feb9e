/** Mistral: a Llama whose tokens see a window of the context. */

import { llamaArchitecture } from "./llama-family.ts";
import { oneWindow } from "./sliding-window.ts";

export const mistral = llamaArchitecture(
  { name: "MistralForCausalLM", modelType: "mistral" },
  {
    defaults: { hiddenSize: 4096, mlpSize: 14336, vocabSize: 32000, trainedContext: 131072 },
    attentionBias: "none",
    mlpBias: "none",
    normedHeads: false,
    window: oneWindow,
  },
);
