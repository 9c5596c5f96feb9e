import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { type EditableFile, editSafetensors } from "../../../test/support/edit-safetensors.ts";
import { originalWeights, sliceName } from "../../model/weights/weight-source.ts";
import { utf8 } from "../../base/bytes.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint.ts";
import { memoryFileTree } from "../memory-files.ts";
import { openSafetensors, readTensorBytes, readTensorF32 } from "../safetensors.ts";

/** Written by tools/make-mxfp4-golden.py. */
const fixture = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../../test/fixtures/mxfp4/${name}`, import.meta.url)));
const CONFIG = JSON.parse(fixture("config.json").toString("utf8")) as Record<string, unknown>;
/** The one that transformers' numbers are there of. */
const NAME = "model.layers.0.mlp.experts.down_proj";
const [EXPERTS, IN, OUT] = [4, 32, 64];

type Tensors = EditableFile["tensors"];

async function open(
  edit: (tensors: Tensors, find: (part: string) => Tensors[number]) => void = () => {},
  fields: object = {},
): Promise<Checkpoint> {
  const bytes = editSafetensors(fixture("model.safetensors"), ({ tensors }) =>
    edit(tensors, (part) => tensors.find(({ name }) => name === `${NAME}_${part}`)!),
  );
  return await openCheckpoint(
    memoryFileTree({
      "config.json": utf8(JSON.stringify({ ...CONFIG, ...fields })),
      "model.safetensors": bytes,
    }),
  );
}

async function wanted(): Promise<Float32Array> {
  const tree = memoryFileTree({ "decoded.safetensors": fixture("decoded.safetensors") });
  return await readTensorF32(tree, (await openSafetensors(tree, "decoded.safetensors")).tensors.get(NAME)!);
}

describe("experts in MXFP4", () => {
  it("have transformers' numbers, to the last bit, where transformers has them", async () => {
    const { tree, tensor, storedAs, names } = await open();
    expect(storedAs).toBe("MXFP4");
    const info = tensor(NAME);
    expect(info).toMatchObject({ dtype: "F32", shape: [EXPERTS, IN, OUT] });
    expect(names.some((name) => /_(blocks|scales)$/.test(name))).toBe(false);
    // −0 and +0 are one number.
    const numbers = (values: Float32Array) => values.map((value) => value + 0);
    expect(numbers(await readTensorF32(tree, info))).toEqual(numbers(await wanted()));
  });

  it("are read at any offset", async () => {
    const { tree, tensor } = await open();
    const info = tensor(NAME);
    const whole = await readTensorBytes(tree, info);
    for (const [offset, bytes] of [
      [0, 4],
      [4 * IN * OUT - 8, 16],
      [12, 3 * 4 * IN * OUT],
    ])
      expect(await readTensorBytes(tree, { ...info, offset, bytes })).toEqual(
        whole.slice(offset, offset + bytes),
      );
    await expect(readTensorBytes(tree, { ...info, offset: info.bytes, bytes: 4 })).rejects.toMatchObject({
      code: "io_failed",
    });
  });

  it("have the same in our own blocks, each output a row, also of one expert alone", async () => {
    const want = await wanted();
    const checkpoint = await open();
    for (let expert = 0; expert < EXPERTS; expert++) {
      const { info } = originalWeights(checkpoint).tensor(sliceName(NAME, expert, EXPERTS), [IN, OUT]);
      const { form, storedInOut, readRows } = info.rounded!;
      expect([form, storedInOut]).toEqual([{ bits: 8, block: 32 }, true]);
      const { codes, scales } = await readRows(3, OUT - 3);
      for (let n = 3; n < OUT; n++)
        for (let k = 0; k < IN; k++)
          expect(scales[n - 3] * (codes[(n - 3) * IN + k] - 128) + 0).toBe(
            want[(expert * IN + k) * OUT + n] + 0,
          );
    }
  });

  it("may stand beside experts that are not packed, or be missing altogether", async () => {
    const plain = { dtype: "F32" as const, shape: [2], data: new Uint8Array(8) };
    const { names } = await open((tensors) => {
      tensors.splice(0, tensors.length, { name: "a.weight", ...plain });
    });
    expect(names).toEqual(["a.weight"]);
  });
});

describe("a file in MXFP4 that is none is refused, naming file and tensor:", () => {
  const file = 'model.safetensors: tensor "model.layers.0.mlp.experts.down_proj';
  const damaged: [string, Parameters<typeof open>[0], string][] = [
    [
      "without scales",
      (tensors, find) => void tensors.splice(tensors.indexOf(find("scales")), 1),
      `${file}_blocks": there is no "${NAME}_scales" for it`,
    ],
    [
      "without blocks",
      (tensors, find) => void tensors.splice(tensors.indexOf(find("blocks")), 1),
      `${file}_scales": there is no "${NAME}_blocks" for it`,
    ],
    [
      "with the numbers beside the blocks",
      (tensors) => void tensors.push({ name: NAME, dtype: "U8", shape: [1], data: new Uint8Array(1) }),
      `${file}_blocks": there is also a tensor "${NAME}"`,
    ],
    [
      "blocks of another type",
      (_, find) => Object.assign(find("blocks"), { dtype: "I8" }),
      `${file}_blocks": it is stored as I8, U8 is read`,
    ],
    [
      "blocks of 8 bytes",
      (_, find) => Object.assign(find("blocks"), { shape: [4, 64, 2, 8] }),
      `${file}_blocks": its shape is [4,64,2,8], not (experts, outputs, inputs/32, 16)`,
    ],
    [
      "scales of another shape",
      (_, find) => Object.assign(find("scales"), { shape: [4, 32, 2] }),
      `${file}_scales": its shape is [4,32,2], that of "${NAME}_blocks" is [4,64,1,16]`,
    ],
  ];
  it.each(damaged)("%s", async (_, edit, message) => {
    await expect(open(edit)).rejects.toMatchObject({ code: "bad_checkpoint", message });
  });

  it.each([
    [255, "which stands for no number"],
    [253, "2^126"],
  ])("the scale %i", async (scale, meaning) => {
    const { tree, tensor } = await open((_, find) => void find("scales").data.fill(scale, 70, 71));
    const message = `${file}_scales": it has the scale ${scale}, ${meaning}; up to 252 are read`;
    const { rounded, ...info } = tensor(NAME);
    await expect(readTensorF32(tree, info)).rejects.toMatchObject({ code: "bad_checkpoint", message });
    await expect(rounded!.readRows(64, 64)).rejects.toMatchObject({ code: "bad_checkpoint", message });
    await rounded!.readRows(0, 64);
  });

  it("of another family", async () => {
    await expect(open(undefined, { model_type: "llama" })).rejects.toMatchObject({
      code: "unsupported_model",
      message:
        'config.json: quantization_config.quant_method = "mxfp4" is not supported with model_type = "llama": of gpt_oss it is',
    });
  });

  it("without its configuration", async () => {
    await expect(open(undefined, { quantization_config: null })).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(
        /^config\.json has no quantization_config, and model\.safetensors has the tensor ".*_proj_blocks"$/,
      ),
    });
  });
});
