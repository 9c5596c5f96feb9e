/** Qwen2 and Qwen2.5: a Llama with a bias on q, k and v, and a window in the later layers if it is asked for. */

import { llamaArchitecture } from "./llama-family.ts";
import { laterWindow } from "./sliding-window.ts";

export const qwen2 = llamaArchitecture(
  { name: "Qwen2ForCausalLM", modelType: "qwen2" },
  {
    defaults: { hiddenSize: 4096, mlpSize: 22016, vocabSize: 151936, trainedContext: 32768 },
    attentionBias: "qkv",
    mlpBias: "none",
    normedHeads: false,
    window: laterWindow,
  },
);
