/** Llama 1 to 3. */

import { llamaArchitecture } from "./llama-family.ts";
import { noWindow } from "./sliding-window.ts";

export const llama = llamaArchitecture(
  { name: "LlamaForCausalLM", modelType: "llama" },
  {
    defaults: { hiddenSize: 4096, mlpSize: 11008, vocabSize: 32000, trainedContext: 2048 },
    attentionBias: "config",
    mlpBias: "config",
    normedHeads: false,
    window: noWindow,
  },
);
