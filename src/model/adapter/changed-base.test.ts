/** What an adapter changes of its base model: what does not fit is refused, with what it is. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type EditableFile, editSafetensors } from "../../../test/support/edit-safetensors.ts";
import { utf8 } from "../../base/bytes.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../platform/node.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { memoryFileTree } from "../../weights/memory-files.ts";
import { CausalLm } from "../causal-lm.ts";
import { fitAdapter } from "./fit-adapter.ts";
import { LocalLora } from "./local-lora.ts";

const GOLDEN = "test/fixtures/golden-peft";
const cache = mkdtempSync(join(tmpdir(), "tacet-changed-"));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

/** The golden adapter with something else in its files. */
async function opened(
  name: string,
  edit: (file: EditableFile) => void = () => {},
  fields: Record<string, unknown> = {},
) {
  const read = (file: string) => readFileSync(join(GOLDEN, name, "adapter", file));
  const config = { ...JSON.parse(read("adapter_config.json").toString()), ...fields };
  const adapter = await openLoraAdapter(
    memoryFileTree({
      "adapter_config.json": utf8(JSON.stringify(config)),
      "adapter_model.safetensors": editSafetensors(new Uint8Array(read("adapter_model.safetensors")), edit),
    }),
  );
  return { adapter, checkpoint: await openCheckpoint(nodeFileTree(join(GOLDEN, name))) };
}

const tensorOf = (file: EditableFile, end: string) => file.tensors.find(({ name }) => name.endsWith(end))!;
const shift = (file: EditableFile, end: string, by: number) => {
  const { data } = tensorOf(file, end);
  const view = new DataView(data.buffer, data.byteOffset);
  view.setFloat32(40, view.getFloat32(40, true) * (1 + by), true);
};

/** Opened, fitted and loaded. */
async function errorOf(...args: Parameters<typeof opened>): Promise<unknown> {
  return await opened(...args)
    .then(async ({ adapter, checkpoint }) => {
      const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { adapter });
      await model.dispose();
    })
    .then(
      () => undefined,
      (error: unknown) => error,
    );
}

describe("copies of the base", () => {
  it("may differ by the last bit, and no more", async () => {
    const bumped = (by: number) => (file: EditableFile) => shift(file, "lm_head.base_layer.weight", by);
    expect(await errorOf("lm-head", bumped(2 ** -23))).toBeUndefined();
    expect(await errorOf("lm-head", bumped(2 ** -12))).toMatchObject({
      code: "bad_adapter",
      message: expect.stringMatching(/copy of the base model's "lm_head\.weight".*values are not/),
    });
  });

  it("of a larger vocabulary are refused with both shapes", async () => {
    const error = await errorOf("lm-head", (file) => {
      const tensor = tensorOf(file, "lm_head.base_layer.weight");
      tensor.shape = [tensor.shape[0] - 1, tensor.shape[1]];
      tensor.data = tensor.data.slice(0, 4 * tensor.shape[0] * tensor.shape[1]);
    });
    expect(error).toMatchObject({
      code: "bad_adapter",
      message: expect.stringMatching(/has shape \[130,48\], the base model has \[131,48\]/),
    });
  });

  it("that nobody has named as trained, and differ, are refused", async () => {
    const rename = (file: EditableFile) => {
      tensorOf(file, "lm_head.base_layer.weight").name = "base_model.model.lm_head.weight";
      shift(file, "lm_head.weight", 0.5);
    };
    expect(await errorOf("lm-head", rename)).toMatchObject({
      code: "bad_adapter",
      hint: expect.stringMatching(/modules_to_save/),
    });
  });
});

describe("a change that the base has no place for", () => {
  const add = (name: string, shape: number[]) => (file: EditableFile) =>
    file.tensors.push({
      name: `base_model.model.${name}`,
      dtype: "F32",
      shape,
      data: new Uint8Array(4 * shape.reduce((a, b) => a * b)),
    });

  it.each([
    ["a norm that there is not", "model.layers.0.extra_layernorm.weight", [48], /extra_layernorm/],
    [
      "a norm of another width",
      "model.norm.weight",
      [47],
      /"model\.norm\.weight" is \(47\), the base model wants \(48\)/,
    ],
    ["a layer behind the last", "model.layers.3.input_layernorm.weight", [48], /layers\.3/],
    [
      "a head of another vocabulary",
      "lm_head.weight",
      [140, 48],
      /"lm_head\.weight" is \(140, 48\), .*\(131, 48\)/,
    ],
  ])("%s is refused", async (_, name, shape, message) => {
    const fields = { modules_to_save: [name.replace(".weight", "")] };
    const error = await errorOf("dora", add(name, shape), fields);
    expect(error).toMatchObject({ code: "unsupported_adapter", message: expect.stringMatching(message) });
  });

  it("a bias where the base has none is refused", async () => {
    const error = await errorOf("dora", add("model.layers.0.self_attn.q_proj.base_layer.bias", [48]), {
      bias: "lora_only",
    });
    expect(error).toMatchObject({
      code: "unsupported_adapter",
      message: expect.stringMatching(/q_proj\.bias/),
    });
  });

  it.each([
    [
      "a token that the base does not have",
      [3, 131],
      48,
      /row for token 131, and "model\.embed_tokens" has 131 rows/,
    ],
    ["rows of another width", [3, 5], 47, /\(2, 47\), the base model wants \(2, 48\)/],
  ])("%s is refused", async (_, ids, width, message) => {
    const name = "model.embed_tokens.token_adapter.trainable_tokens_delta";
    const error = await errorOf("dora", add(name, [2, width]), { trainable_token_indices: ids });
    expect(error).toMatchObject({ code: "unsupported_adapter", message: expect.stringMatching(message) });
  });
});

describe("a base that is rounded", () => {
  it.each(["int8", "int4"] as const)("in %s has the changes of every kind", async (weights) => {
    for (const name of ["dora", "embed-and-head-tied", "bias-all"]) {
      const { adapter, checkpoint } = await opened(name);
      const { input_ids, logits_last_adapter } = JSON.parse(
        readFileSync(join(GOLDEN, name, "expected.json"), "utf8"),
      );
      const deltas = new LocalLora(await fitAdapter(adapter, checkpoint));
      const weightCache = nodeFileCache(cache);
      const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { deltas, weights, weightCache });
      const got = await model.forward(input_ids, model.newCache());
      await model.dispose();
      const want: number[] = logits_last_adapter;
      const [error, size] = [want.map((value, i) => value - got[i]), want].map((list) => Math.hypot(...list));
      expect(error / size, name).toBeLessThan(weights === "int8" ? 0.05 : 0.35);
    }
  });
});

describe("several adapters on one base", () => {
  it("that change it have each their own, the others share", async () => {
    const { adapter, checkpoint } = await opened("dora");
    const fitted = await fitAdapter(adapter, checkpoint);
    const { modules, groups } = fitted;
    const uses = [{ deltas: new LocalLora(fitted) }, {}, { deltas: new LocalLora({ modules, groups }) }];
    const [changed, base, plain] = await CausalLm.loadShared(checkpoint, nodePlatform().tensors, uses);
    expect([plain.isOnBaseOf(base), changed.isOnBaseOf(base)]).toEqual([true, false]);
    const { input_ids, logits_last, logits_last_adapter } = JSON.parse(
      readFileSync(join(GOLDEN, "dora/expected.json"), "utf8"),
    );
    const logits = async (model: CausalLm) => await model.forward(input_ids, model.newCache());
    for (const [model, want] of [
      [changed, logits_last_adapter],
      [base, logits_last],
    ] as const) {
      const got = await logits(model);
      for (const [i, value] of (want as number[]).entries())
        expect(Math.abs(got[i] - value)).toBeLessThan(2e-4 + 1e-4 * Math.abs(value));
    }
    await Promise.all([changed, base, plain].map((model) => model.dispose()));
  });
});
