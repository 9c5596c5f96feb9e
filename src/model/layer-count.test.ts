import { describe, expect, it } from "vitest";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { describeDecoder } from "./architectures/registry.ts";
import { linearPlaces } from "./graph/write-decoder.ts";
import { refuseMoreLayers } from "./layer-count.ts";

describe("refuseMoreLayers", () => {
  it.each([
    ["llama-f32", "num_hidden_layers"],
    ["gpt2-f32", "n_layer"],
    ["chatglm2-f32", "num_layers"],
  ])("%s: a %s that is too small", async (folder, field) => {
    const checkpoint = await openCheckpoint(nodeFileTree(`test/fixtures/golden/${folder}`));
    const check = (layers: number) => {
      const config = { ...checkpoint.config, [field]: layers };
      return () => refuseMoreLayers(linearPlaces(describeDecoder({ config })), checkpoint);
    };
    const layers = checkpoint.config[field] as number;
    expect(check(layers)).not.toThrow();
    expect(check(layers - 1)).toThrow(
      expect.objectContaining({ code: "bad_checkpoint", message: expect.stringMatching(/layers only/) }),
    );
  });
});
