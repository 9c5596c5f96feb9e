import { describe, expect, it } from "vitest";
import { bytesOf, utf8 } from "../../base/bytes.ts";
import { nodeFileTree } from "../../platform/node/files/file-tree.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { type LoraAdapter, type LoraModule, openLoraAdapter } from "../../weights/lora-adapter.ts";
import { memoryFileTree } from "../../weights/memory-files.ts";
import { encodeSafetensors } from "../../weights/safetensors.ts";
import { fitAdapter } from "./fit-adapter.ts";

const GOLDEN = "test/fixtures/golden";
const checkpointOf = (name: string) => openCheckpoint(nodeFileTree(`${GOLDEN}/${name}`));
const adapterOf = (name: string) => openLoraAdapter(nodeFileTree(`${GOLDEN}/${name}/adapter`));

/** An adapter of modules of these sizes, all zero. */
function adapter(
  ...modules: [name: string, inFeatures: number, outFeatures: number, rank?: number][]
): LoraAdapter {
  const entries = modules.map(([name, inFeatures, outFeatures, rank = 2]): [string, LoraModule] => {
    const a = new Float32Array(rank * inFeatures);
    const b = new Float32Array(outFeatures * rank);
    return [name, { name, inFeatures, outFeatures, rank, scale: 1, a, b }];
  });
  return { modules: new Map(entries) };
}

describe("fitAdapter", () => {
  it("adapts a head that the base shares with its embeddings", async () => {
    const llama = await checkpointOf("llama-f32");
    const tied = {
      ...llama,
      config: { ...llama.config, tie_word_embeddings: true },
      has: (name: string) => name !== "lm_head.weight" && llama.has(name),
    };
    const vocabSize = llama.config.vocab_size as number;
    const { groups } = await fitAdapter(adapter(["lm_head", 96, vocabSize]), tied);
    expect(groups).toMatchObject([{ layer: 2, modules: ["lm_head"], inFeatures: 96 }]);
  });

  it("groups what shares an input, in forward order", async () => {
    const { groups } = await fitAdapter(
      await adapterOf("llama-bf16-sharded"),
      await checkpointOf("llama-bf16-sharded"),
    );
    expect(groups.slice(0, 2).map(({ modules }) => modules.map((name) => name.split(".").at(-1)))).toEqual([
      ["q_proj", "k_proj", "v_proj"],
      ["o_proj"],
    ]);
    expect(groups.map(({ layer }) => layer)).toEqual([0, 0, 1, 1, 2, 2]);
  });

  it("refuses the adapter of another base, with the tensor, the shapes and what to do", async () => {
    const [llama, sharded] = await Promise.all(["llama-f32", "llama-bf16-sharded"].map(checkpointOf));
    const fitting = async (name: string, base: typeof llama) => {
      const lora = await adapterOf(name);
      return await fitAdapter(lora, base);
    };
    await expect(fitting("llama-f32", sharded)).rejects.toThrow(
      expect.objectContaining({
        code: "bad_adapter",
        message: expect.stringMatching(
          /"base_model\.model\.model\.layers\.0\.self_attn\.q_proj\.lora_A\.weight" .* \(8, 96\).* "model\.layers\.0\.self_attn\.q_proj\.weight" .*\(120, 120\)/,
        ),
        hint: expect.stringMatching(/base_model_name_or_path/),
      }),
    );
    await expect(fitAdapter(adapter(["model.layers.0.self_attn.q_proj", 96, 95]), llama)).rejects.toThrow(
      /lora_B\.weight" of the adapter is \(95, 2\)/,
    );
    await expect(fitAdapter(adapter(["model.layers.3.self_attn.q_proj", 96, 96]), llama)).rejects.toThrow(
      expect.objectContaining({
        code: "bad_adapter",
        message: expect.stringMatching(/no tensor "model.layers.3/),
      }),
    );
    await expect(fitAdapter(adapter(["lm_head", 96, 301]), llama)).rejects.toThrow(
      /lora_B\.weight" of the adapter is \(301, 2\), and does not fit "lm_head\.weight"/,
    );
  });

  it("finds the modules of a file that leaves the decoder's name out", async () => {
    const zeros = (name: string, shape: number[]) => ({
      name,
      dtype: "F32" as const,
      shape,
      data: bytesOf(new Float32Array(shape[0] * shape[1])),
    });
    const config = {
      architectures: ["LlamaForCausalLM"],
      hidden_size: 8,
      num_attention_heads: 2,
      num_hidden_layers: 1,
    };
    const bare = await openCheckpoint(
      memoryFileTree({
        "config.json": utf8(JSON.stringify(config)),
        "model.safetensors": encodeSafetensors([zeros("layers.0.self_attn.o_proj.weight", [8, 8])]),
      }),
    );
    const lora = adapter(["model.layers.0.self_attn.o_proj", 8, 8]);
    const { groups } = await fitAdapter(lora, bare);
    expect(groups).toMatchObject([{ modules: ["model.layers.0.self_attn.o_proj"] }]);
  });
});
