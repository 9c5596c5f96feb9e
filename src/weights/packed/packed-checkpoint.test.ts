import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EditableFile, editSafetensors } from "../../../test/support/edit-safetensors.ts";
import { type PackingOptions, writePacked } from "../../../test/support/packed-folder.ts";
import { utf8 } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint.ts";
import { fingerprintCheckpoint } from "../fingerprint.ts";
import { memoryFileTree } from "../memory-files.ts";
import { readTensorF32 } from "../safetensors.ts";

const GOLDEN = fileURLToPath(new URL("../../../test/fixtures/golden/llama-f32", import.meta.url));
const MODULE = "model.layers.1.mlp.down_proj";

interface Folder {
  readonly config: { quantization_config: Record<string, unknown> };
  readonly bytes: Uint8Array;
}

let dir: string;
const folders = new Map<string, Folder>();
const KINDS = {
  gptq: { method: "gptq", groupSize: 32, symmetric: false },
  "any order": { method: "gptq", groupSize: 32, symmetric: false, anyOrder: true },
  symmetric: { method: "gptq", groupSize: 32 },
  awq: { method: "awq", groupSize: 32 },
} as const satisfies Record<string, PackingOptions>;
type Kind = keyof typeof KINDS;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "tacet-packed-"));
  for (const [kind, options] of Object.entries(KINDS)) {
    const { packed } = await writePacked(GOLDEN, join(dir, kind), options);
    folders.set(kind, {
      config: JSON.parse(readFileSync(join(packed, "config.json"), "utf8")),
      bytes: readFileSync(join(packed, "model.safetensors")),
    });
  }
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type Tensor = EditableFile["tensors"][number];

interface Changes {
  readonly config?: Record<string, unknown>;
  readonly tensors?: (find: (part: string) => Tensor, tensors: Tensor[]) => void;
}

async function open(kind: Kind, { config = {}, tensors }: Changes = {}): Promise<Checkpoint> {
  const folder = folders.get(kind)!;
  const bytes = editSafetensors(folder.bytes, (file) =>
    tensors?.((part) => file.tensors.find(({ name }) => name === `${MODULE}.${part}`)!, file.tensors),
  );
  const { quantization_config: field } = folder.config;
  const text = JSON.stringify({ ...folder.config, quantization_config: { ...field, ...config } });
  return await openCheckpoint(memoryFileTree({ "config.json": utf8(text), "model.safetensors": bytes }));
}

/** As loading does, with all numbers. */
async function readAll(checkpoint: Checkpoint): Promise<void> {
  for (const name of checkpoint.names) {
    const info = checkpoint.tensor(name);
    const numbers = await readTensorF32(checkpoint.tree, info);
    expect(numbers.length * 4).toBe(info.dtype === "F32" ? info.bytes : 2 * info.bytes);
    if (info.rounded) await info.rounded.readRows(0, info.shape[0]);
  }
}

const words = (...values: number[]) => new Uint8Array(Int32Array.from(values).buffer);
const remove = (part: string): Changes => ({
  tensors: (find, tensors) => void tensors.splice(tensors.indexOf(find(part)), 1),
});

describe("a packed checkpoint", () => {
  it("has its modules' weights as other checkpoints have them, and its files as they are", async () => {
    const checkpoint = await open("gptq");
    const info = checkpoint.tensor(`${MODULE}.weight`);
    expect(info).toMatchObject({ dtype: "F32", shape: [96, 160], bytes: 4 * 96 * 160 });
    expect(info.rounded?.form).toEqual({ bits: 4, block: 32, hasZeroPoints: true });
    expect(checkpoint.storedAs).toBe("GPTQ, 4 bits, groups of 32");
    expect(checkpoint.config).not.toHaveProperty("quantization_config");
    expect(checkpoint.has(`${MODULE}.qweight`)).toBe(false);
    expect(checkpoint.files?.tensor(`${MODULE}.qweight`)).toMatchObject({ dtype: "I32", shape: [20, 96] });
    await readAll(checkpoint);
    const [first] = await Promise.all([fingerprintCheckpoint(checkpoint)]);
    expect(
      await fingerprintCheckpoint(await open("gptq", { config: { checkpoint_format: "gptq_v2" } })),
    ).not.toEqual(first);
  });

  it("gives any bytes of a tensor", async () => {
    const checkpoint = await open("awq");
    const info = checkpoint.tensor(`${MODULE}.weight`);
    const whole = await checkpoint.tree.read(info.path, 0, info.bytes);
    for (const [offset, length] of [
      [0, 1],
      [639, 2],
      [1, 640],
      [info.bytes - 5, 5],
      [7, 0],
    ]) {
      const part = await checkpoint.tree.read(info.path, offset, length);
      expect(part).toEqual(whole.slice(offset, offset + length));
    }
    await expect(checkpoint.tree.read(info.path, info.bytes - 5, 6)).rejects.toMatchObject({
      code: "io_failed",
    });
  });

  it.each<[Kind, string, Changes, RegExp]>([
    [
      "gptq",
      "bits 3",
      { config: { bits: 3 } },
      /quantization_config\.bits = 3 is not supported: 4 and 8 are read/,
    ],
    ["awq", "bits 8", { config: { bits: 8 } }, /quantization_config\.bits = 8 .*: 4 is read/],
    [
      "gptq",
      "a group size that is text",
      { config: { group_size: "32" } },
      /group_size = "32" is not supported/,
    ],
    [
      "gptq",
      "marlin's layout",
      { config: { checkpoint_format: "marlin" } },
      /checkpoint_format = "marlin" .*"gptq_v2" are read/,
    ],
    [
      "awq",
      "gemv's layout",
      { config: { version: "gemv" } },
      /quantization_config\.version = "gemv" .*"gemm" is read/,
    ],
    ["awq", "no zero points", { config: { zero_point: false } }, /zero_point = false is not supported/],
    [
      "gptq",
      "another method",
      { config: { quant_method: "fp8" } },
      /holds quantized weights \(fp8, 4 bits\)/,
    ],
    [
      "gptq",
      "no scales",
      remove("scales"),
      /"model\.layers\.1\.mlp\.down_proj\.qweight": there is no ".*\.scales"/,
    ],
    ["awq", "no zeros", remove("qzeros"), /down_proj\.qweight": there is no ".*\.qzeros"/],
    ["awq", "no integers", remove("qweight"), /down_proj\.(scales|qzeros)" belongs to no quantized module/],
    [
      "gptq",
      "integers in another type",
      { tensors: (find) => Object.assign(find("qweight"), { dtype: "U32" }) },
      /down_proj\.qweight": it is U32 \[20,96\], I32 with two axes is read/,
    ],
    [
      "gptq",
      "scales in another type",
      { tensors: (find) => Object.assign(find("scales"), { dtype: "I16" }) },
      /down_proj\.scales" is stored as I16/,
    ],
    [
      "gptq",
      "another shape of integers",
      { tensors: (find) => Object.assign(find("qweight"), { shape: [96, 20] }) },
      /down_proj\.qweight".* 19\.2 bits|down_proj\.qweight": its shape is \[96,20\]/,
    ],
    [
      "awq",
      "another shape of integers",
      { tensors: (find) => Object.assign(find("qweight"), { shape: [12, 160] }) },
      /down_proj\.qweight": its shape is \[12,160\], with ".*\.scales" of \[5,96\] it should be \[12,12\]/,
    ],
    [
      "awq",
      "another shape of zeros",
      { tensors: (find) => Object.assign(find("qzeros"), { shape: [12, 5] }) },
      /down_proj\.qzeros": its shape is \[12,5\], it should be \[5,12\]/,
    ],
    [
      "gptq",
      "scales of one axis",
      { tensors: (find) => Object.assign(find("scales"), { shape: [480] }) },
      /down_proj\.scales": its shape is \[480\], not \(groups, outputs\)/,
    ],
    [
      "gptq",
      "more groups than inputs fill",
      {
        tensors: (find) => {
          Object.assign(find("scales"), { shape: [7, 96], data: new Uint8Array(2 * 7 * 96) });
          Object.assign(find("qzeros"), { shape: [7, 12], data: new Uint8Array(4 * 7 * 12) });
        },
      },
      /down_proj\.scales": it has 7 groups for 160 inputs, quantization_config\.group_size is 32/,
    ],
    [
      "gptq",
      "groups in another order than it says",
      {
        tensors: (find) =>
          Object.assign(find("g_idx"), { data: words(...Array.from({ length: 160 }, (_, k) => k % 5)) }),
      },
      /down_proj\.g_idx": its groups are not in order, and quantization_config\.desc_act is false/,
    ],
    [
      "any order",
      "a group that is not there",
      { tensors: (find) => Object.assign(find("g_idx"), { data: words(...Array<number>(160).fill(5)) }) },
      /down_proj\.g_idx": it names group 5 of 5/,
    ],
    [
      "any order",
      "a negative group",
      { tensors: (find) => Object.assign(find("g_idx"), { data: words(...Array<number>(160).fill(-1)) }) },
      /down_proj\.g_idx": it names group -1 of 5/,
    ],
    [
      "symmetric",
      "zero points where there should be none",
      { tensors: (find) => void find("qzeros").data.fill(0x55) },
      /module "model\.layers\.1\.mlp\.down_proj": qzeros has a zero point other than 8/,
    ],
    [
      "awq",
      "scales that are infinite",
      { tensors: (find) => void find("scales").data.set([0, 0x7c], 100) },
      /module "model\.layers\.1\.mlp\.down_proj": scales has an entry that is not finite/,
    ],
    [
      "awq",
      "the weight beside its integers",
      {
        tensors: (_, tensors) =>
          void tensors.push({ name: `${MODULE}.weight`, dtype: "F16", shape: [1], data: new Uint8Array(2) }),
      },
      /down_proj\.qweight": there is also a tensor ".*down_proj\.weight"/,
    ],
    [
      "awq",
      "scales of an activation",
      {
        tensors: (_, tensors) =>
          void tensors.push({
            name: "model.layers.0.mlp.act.scales",
            dtype: "F16",
            shape: [1],
            data: new Uint8Array(2),
          }),
      },
      /"model\.layers\.0\.mlp\.act\.scales" belongs to no quantized module/,
    ],
  ])("%s with %s is refused by file and field", async (kind, _, changes, message) => {
    const error = await open(kind, changes)
      .then(readAll)
      .catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(TacetError);
    expect((error as TacetError).message).toMatch(message);
    expect((error as TacetError).message).toMatch(/^(model\.safetensors|config\.json): |^memory holds/);
    expect((error as TacetError).hint).toBeDefined();
  });

  it("without a quantization_config is refused, and says where that may be", async () => {
    const { config, bytes } = folders.get("gptq")!;
    const { quantization_config: _, ...plain } = config;
    const files = { "config.json": utf8(JSON.stringify(plain)), "model.safetensors": bytes };
    await expect(openCheckpoint(memoryFileTree(files))).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(
        /^config\.json has no quantization_config, and model\.safetensors has the tensor ".*\.qweight"/,
      ),
      hint: expect.stringContaining("quantize_config.json"),
    });
  });

  const json = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(4, 8, -1, 32, 64, 1e9, true, false, "gptq", "awq", "gemm"),
  );
  const fields = [
    "bits",
    "group_size",
    "sym",
    "desc_act",
    "checkpoint_format",
    "version",
    "zero_point",
    "quant_method",
    "dynamic",
  ];

  it("is read or refused, whatever its configuration and its tensors are", async () => {
    const edits = fc.array(
      fc.record({
        part: fc.constantFrom("qweight", "qzeros", "scales", "g_idx"),
        kind: fc.constantFrom("shape", "bytes", "dtype", "remove"),
        shape: fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 3 }),
        dtype: fc.constantFrom("I32", "U8", "F16", "F32", "I64", "BF16"),
        seed: fc.integer(),
      }),
      { maxLength: 3 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...(Object.keys(KINDS) as Kind[])),
        fc.dictionary(fc.constantFrom(...fields), json, { maxKeys: 3 }),
        edits,
        async (kind, config, changes) => {
          const tensors: Changes["tensors"] = (find, all) => {
            for (const { part, kind, shape, dtype, seed } of changes) {
              const tensor = find(part);
              if (!tensor) continue;
              if (kind === "remove") all.splice(all.indexOf(tensor), 1);
              else if (kind === "bytes")
                tensor.data = tensor.data.map((_, i) => (i * 2654435761 + seed) >>> 13);
              else {
                const bytes = { I32: 4, U8: 1, F16: 2, F32: 4, I64: 8, BF16: 2 } as const;
                const type = kind === "dtype" ? dtype : (tensor.dtype as keyof typeof bytes);
                const size = kind === "shape" ? shape : tensor.shape;
                const length = size.reduce((product, n) => product * n, bytes[type]);
                Object.assign(tensor, { dtype: type, shape: size, data: new Uint8Array(length).fill(seed) });
              }
            }
          };
          try {
            await readAll(await open(kind, { config, tensors }));
          } catch (error) {
            if (!(error instanceof TacetError)) throw error;
            expect(["bad_checkpoint", "unsupported_model"]).toContain(error.code);
          }
        },
      ),
      { numRuns: 120 },
    );
  });
});
