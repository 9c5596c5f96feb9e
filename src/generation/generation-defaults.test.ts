import { describe, expect, it } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { readGenerationDefaults } from "./generation-defaults.ts";

async function read(generation: unknown, config = {}) {
  const weights = encodeSafetensors([{ name: "a", dtype: "F32", shape: [1], data: new Uint8Array(4) }]);
  return readGenerationDefaults(
    await openCheckpoint(
      memoryFileTree({
        "config.json": utf8(JSON.stringify(config)),
        "model.safetensors": weights,
        ...(generation === undefined ? {} : { "generation_config.json": utf8(JSON.stringify(generation)) }),
      }),
    ),
  );
}

describe("readGenerationDefaults", () => {
  it("reads what Qwen2.5 and Llama 2 say", async () => {
    const qwen = { do_sample: true, repetition_penalty: 1.1, temperature: 0.7, top_p: 0.8, top_k: 20 };
    expect(await read({ ...qwen, eos_token_id: [151_645, 151_643] })).toEqual({
      sampling: { temperature: 0.7, topP: 0.8, topK: 20, repetitionPenalty: 1.1 },
      eosIds: [151_645, 151_643],
    });
    expect(await read({ do_sample: true, top_p: 0.9, max_length: 4096, max_new_tokens: 7 })).toMatchObject({
      sampling: { temperature: 1, topP: 0.9 },
      maxLength: 4096,
      maxNewTokens: 7,
    });
  });

  it("takes a top_k of -1 for none, as vLLM writes it", async () => {
    expect((await read({ do_sample: true, top_k: -1 })).sampling).toEqual({ temperature: 1, topK: 0 });
    await expect(read({ top_k: -2 })).rejects.toMatchObject({ message: expect.stringMatching(/top_k/) });
  });

  it("takes the likeliest unless do_sample is set, and says nothing without the file", async () => {
    expect(await read({ temperature: 0.6, top_p: null })).toEqual({
      sampling: { temperature: 0 },
      eosIds: [],
    });
    expect(await read(undefined, { eos_token_id: 2 })).toEqual({ sampling: {}, eosIds: [2] });
    const lexicon = await openCheckpoint(nodeFileTree("models/lexicon/base"));
    expect(await readGenerationDefaults(lexicon)).toEqual({
      sampling: { temperature: 0 },
      eosIds: [3],
      maxNewTokens: 96,
    });
  });

  it.each([
    { temperature: -1 },
    { top_p: 0 },
    { top_p: "0.9" },
    { top_k: 1.5 },
    { min_p: 2 },
    { repetition_penalty: 0 },
    { max_new_tokens: 0 },
  ])("refuses %j by the field", async (field) => {
    await expect(read(field)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: `generation_config.json: ${Object.keys(field)[0]} is out of range`,
    });
    await expect(read([])).rejects.toMatchObject({ code: "bad_checkpoint" });
  });
});
