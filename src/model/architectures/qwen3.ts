/** Qwen3: a Llama whose heads of q and k are normed before they are turned. */

import { llamaArchitecture } from "./llama-family.ts";
import { laterWindow } from "./sliding-window.ts";

export const qwen3 = llamaArchitecture(
  { name: "Qwen3ForCausalLM", modelType: "qwen3" },
  {
    defaults: { hiddenSize: 4096, mlpSize: 22016, vocabSize: 151936, trainedContext: 32768, headDim: 128 },
    attentionBias: "config",
    mlpBias: "none",
    normedHeads: true,
    window: laterWindow,
  },
);
