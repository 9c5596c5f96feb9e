/**
 * Folders with one fault each: the error names the file (or the tensor, field or module) and says what to do. Through
 * the functions that users call; a few of them once more through the command line.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TacetError } from "../../src/base/errors.ts";
import { createBundle } from "../../src/bundle/create-bundle.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { checkWeights } from "../../src/weights/check-weights.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import {
  editFile,
  editJson,
  faultyCopy,
  remove,
  setFloat,
  tensorsOf,
  truncate,
  writeBytes,
  writeText,
} from "../support/faulty-folder.ts";
import { greedyIds, temporaryFolder } from "../support/models.ts";
import { seededModel } from "../support/seeded-models.ts";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const Q = "model.layers.1.self_attn.q_proj";
const INDEX = "model.safetensors.index.json";
const [SHARD_1, SHARD_2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const folder = temporaryFolder();
let bases: { f32: string; sharded: string };
let adapter: string;
beforeAll(() => {
  const one = seededModel(folder.path, "llama");
  const two = seededModel(join(folder.path, "sharded"), "llama", { shards: 2, type: "F16" });
  bases = { f32: one.base, sharded: two.base };
  adapter = one.adapter("adapter", { modules: ["q_proj", "down_proj"], rank: 2 });
});
afterAll(() => folder.remove());

async function errorOf(work: Promise<unknown>): Promise<TacetError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(TacetError);
  return error as TacetError;
}

async function load(dir: string): Promise<CausalLm> {
  return await CausalLm.load(await openCheckpoint(nodeFileTree(dir)), nodePlatform().tensors);
}

type Fault = [what: string, fault: (dir: string) => void, code: string, message: RegExp, hint: RegExp];

const ONE_FILE: Fault[] = [
  ["no config.json", remove("config.json"), "bad_checkpoint", /no config\.json/, /Hugging Face layout/],
  [
    "config.json not an object",
    writeText("config.json", "[]"),
    "bad_checkpoint",
    /config\.json .*object/,
    /again/,
  ],
  [
    "config.json not JSON",
    writeText("config.json", "{"),
    "bad_checkpoint",
    /config\.json is not JSON/,
    /download/,
  ],
  [
    "config.json not text",
    writeBytes("config.json", 0x7b, 0xff, 0x7d),
    "bad_checkpoint",
    /config\.json is not UTF-8/,
    /again/,
  ],
  [
    "a field twice",
    writeText("config.json", '{"hidden_size":1,"hidden_size":2}'),
    "bad_checkpoint",
    /config\.json has the key "hidden_size" twice/,
    /again/,
  ],
  [
    "an unknown architecture",
    editJson("config.json", (c) => ({ ...c, architectures: ["NoSuchLM"], model_type: "nosuch" })),
    "unsupported_model",
    /NoSuchLM|nosuch/,
    /./,
  ],
  ["no weights", remove("model.safetensors"), "bad_checkpoint", /neither model\.safetensors nor/, /download/],
  [
    "a file cut off",
    truncate("model.safetensors", 50_000),
    "bad_checkpoint",
    /model\.safetensors.*50000/,
    /again/,
  ],
  [
    "a file of 7 bytes",
    truncate("model.safetensors", 7),
    "bad_checkpoint",
    /model\.safetensors: 7 bytes/,
    /again/,
  ],
  [
    "a tensor missing",
    editFile("model.safetensors", (file) => {
      file.tensors = file.tensors.filter(({ name }) => name !== `${Q}.weight`);
    }),
    "bad_checkpoint",
    /no tensor "model\.layers\.1\.self_attn\.q_proj\.weight"/,
    /incomplete/,
  ],
  [
    "a tensor of another shape",
    editFile("model.safetensors", ({ tensors }) => {
      tensors.find(({ name }) => name === `${Q}.weight`)!.shape.reverse();
      const other = tensors.find(({ name }) => name === "model.layers.0.mlp.up_proj.weight")!;
      other.shape.reverse();
    }),
    "bad_checkpoint",
    /model\.safetensors: tensor "model\.layers\.0\.mlp\.up_proj\.weight" has shape \[72,104\].*\[104,72\]/,
    /download both/,
  ],
  ...(["I8", "F8_E4M3"] as const).map(
    (dtype): Fault => [
      `a tensor stored as ${dtype}`,
      editFile("model.safetensors", ({ tensors }) => {
        const tensor = tensors.find(({ name }) => name === `${Q}.weight`)!;
        tensor.dtype = dtype;
        tensor.data = tensor.data.slice(0, tensor.data.length / 4);
      }),
      "unsupported_model",
      new RegExp(`model\\.safetensors: tensor "model\\.layers\\.1\\.self_attn\\.q_proj\\.weight" .*${dtype}`),
      /F32, F16 .*BF16/,
    ],
  ),
];

const SHARDED: Fault[] = [
  [
    "a shard missing",
    remove(SHARD_2),
    "bad_checkpoint",
    new RegExp(`no ${SHARD_2}`),
    /fetch the missing file/,
  ],
  ["a shard cut off", truncate(SHARD_2, 30_000), "bad_checkpoint", new RegExp(`${SHARD_2}.*30000`), /again/],
  ["a shard empty", writeText(SHARD_1, ""), "bad_checkpoint", new RegExp(`${SHARD_1}: 0 bytes`), /again/],
  ["no index", remove(INDEX), "bad_checkpoint", /neither model\.safetensors nor/, /download/],
  [
    "an index without weight_map",
    writeText(INDEX, "{}"),
    "bad_checkpoint",
    /index\.json: .*weight_map/,
    /download/,
  ],
  [
    "an index that points outside of the folder",
    editJson(INDEX, ({ weight_map }) => ({
      weight_map: { ...(weight_map as object), "lm_head.weight": "../x.safetensors" },
    })),
    "bad_checkpoint",
    /index\.json: for tensor "lm_head\.weight" it does not name a safetensors file of this folder/,
    /download/,
  ],
  [
    "an index of another version",
    editJson(INDEX, ({ weight_map }) => ({
      weight_map: { ...(weight_map as object), "lm_head.weight": SHARD_1 },
    })),
    "bad_checkpoint",
    new RegExp(`${SHARD_1} has no tensor "lm_head.weight"`),
    /again/,
  ],
  [
    "one tensor in two shards",
    (dir) => {
      const [first] = tensorsOf(join(dir, SHARD_1));
      editFile(SHARD_2, ({ tensors }) => tensors.push(first))(dir);
    },
    "bad_checkpoint",
    /tensor "model\.embed_tokens\.weight" is in model-00002\S+ and in model-00001/,
    /again/,
  ],
];

let copies = 0;
const faulty = (source: string, fault: (dir: string) => void) =>
  faultyCopy(source, join(folder.path, `copy-${copies++}`), fault);
const setWeight = (tensor: string, at: number, value: number) =>
  setFloat("model.safetensors", tensor, at, value);

describe("a base model with", () => {
  it.each(ONE_FILE)("%s", async (_, fault, code, message, hint) => {
    const error = await errorOf(load(faulty(bases.f32, fault)));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(error.hint).toMatch(hint);
  });

  it.each(SHARDED)("%s", async (_, fault, code, message, hint) => {
    const error = await errorOf(load(faulty(bases.sharded, fault)));
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(error.hint).toMatch(hint);
  });

  it.each([
    ["NaN", Number.NaN],
    ["infinity", Number.POSITIVE_INFINITY],
  ])("%s among its weights: named by checkWeights, and no answer is made of it", async (_, value) => {
    const dir = faulty(bases.f32, setWeight("model.norm.weight", 3, value));
    const checkpoint = await openCheckpoint(nodeFileTree(dir));
    const found = await errorOf(checkWeights(checkpoint));
    expect(found).toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(/model\.safetensors: tensor "model\.norm\.weight" .* not finite/),
    });
    const model = await load(dir);
    const error = await errorOf(greedyIds(model, [1, 2, 3], { maxNewTokens: 4 }));
    expect(error).toMatchObject({ code: "bad_checkpoint", message: expect.stringMatching(/not finite/) });
    expect(error.hint).toMatch(/--check-weights/);
    await model.dispose();
  });

  it("nothing wrong: checkWeights reads all of it, in every storage type", async () => {
    for (const dir of Object.values(bases)) {
      let last = 0;
      await checkWeights(await openCheckpoint(nodeFileTree(dir)), { onProgress: (part) => (last = part) });
      expect(last).toBe(1);
    }
    const stopped = checkWeights(await openCheckpoint(nodeFileTree(bases.f32)), {
      signal: AbortSignal.abort(),
    });
    expect((await errorOf(stopped)).code).toBe("aborted");
  });

  it("no tokenizer: it has none to give, and ids still work", async () => {
    const error = await errorOf(openCheckpoint(nodeFileTree(bases.f32)).then(loadTokenizer));
    expect(error).toMatchObject({ code: "bad_tokenizer", hint: expect.stringMatching(/--ids/) });
  });
});

const WEIGHTS = "adapter_model.safetensors";
const CONFIG = "adapter_config.json";
const A = `base_model.model.${Q}.lora_A.weight`;

const ADAPTER: Fault[] = [
  ["no configuration", remove(CONFIG), "bad_adapter", /no adapter_config\.json/, /PEFT layout/],
  [
    "a configuration that is no object",
    writeText(CONFIG, "7"),
    "bad_adapter",
    /adapter_config\.json .*object/,
    /again/,
  ],
  ["no weights", remove(WEIGHTS), "bad_adapter", /no adapter_model\.safetensors/, /fetch/],
  ["weights cut off", truncate(WEIGHTS, 3000), "bad_adapter", /adapter_model\.safetensors.*3000/, /again/],
  [
    "nothing in it",
    editFile(WEIGHTS, (file) => {
      file.tensors = [];
    }),
    "bad_adapter",
    /adapter_model\.safetensors has no LoRA tensors/,
    /./,
  ],
  ...[Number.NaN, Number.NEGATIVE_INFINITY].map(
    (value): Fault => [
      `${value} among its weights`,
      editFile(WEIGHTS, ({ tensors }) => {
        const { data } = tensors.find(({ name }) => name === A)!;
        new DataView(data.buffer, data.byteOffset).setFloat32(8, value, true);
      }),
      "bad_adapter",
      /adapter_model\.safetensors: module "model\.layers\.1\.self_attn\.q_proj" .*not finite/,
      /train|again/,
    ],
  ),
  [
    "weights in 8 bits",
    editFile(WEIGHTS, ({ tensors }) => {
      const tensor = tensors.find(({ name }) => name === A)!;
      tensor.dtype = "I8";
      tensor.data = tensor.data.slice(0, tensor.data.length / 4);
    }),
    "unsupported_adapter",
    /adapter_model\.safetensors: tensor ".*q_proj\.lora_A\.weight" is stored as I8/,
    /F32, F16 and BF16/,
  ],
  [
    "half a pair",
    editFile(WEIGHTS, (file) => {
      file.tensors = file.tensors.filter(({ name }) => name !== A);
    }),
    "bad_adapter",
    /adapter_model\.safetensors: module "model\.layers\.1\.self_attn\.q_proj" has a lora_B and no lora_A/,
    /./,
  ],
  [
    "a target module that the base does not have",
    (dir) => {
      const renamed = (name: string) => name.replaceAll("q_proj", "w_proj");
      editFile(WEIGHTS, ({ tensors }) => {
        for (const tensor of tensors) tensor.name = renamed(tensor.name);
      })(dir);
      writeFileSync(join(dir, CONFIG), renamed(readFileSync(join(dir, CONFIG), "utf8")));
    },
    "bad_adapter",
    /no tensor "model\.layers\.0\.self_attn\.w_proj\.weight"/,
    /another base model/,
  ],
  [
    "layers that the base does not have",
    editFile(WEIGHTS, ({ tensors }) => {
      for (const tensor of tensors) tensor.name = tensor.name.replace("layers.1.", "layers.7.");
    }),
    "bad_adapter",
    /no tensor "model\.layers\.7\./,
    /another base model/,
  ],
  [
    "the shapes of another base",
    editFile(WEIGHTS, ({ tensors }) => {
      const tensor = tensors.find(({ name }) => name === A)!;
      tensor.shape = [2, 70];
      tensor.data = tensor.data.slice(0, 4 * 2 * 70);
    }),
    "bad_adapter",
    /q_proj\.lora_A\.weight" of the adapter is \(2, 70\)/,
    /another base model/,
  ],
];

describe("an adapter with", () => {
  it.each(ADAPTER)("%s", async (_, fault, code, message, hint) => {
    const dir = faulty(adapter, fault);
    const checkpoint = await openCheckpoint(nodeFileTree(bases.f32));
    const making = openLoraAdapter(nodeFileTree(dir)).then(async (lora) => {
      const fitted = await fitAdapter(lora, checkpoint);
      const baseFingerprint = new Uint8Array(32);
      const input = {
        adapter: "x",
        baseFingerprint,
        ...fitted,
      };
      return await createBundle(input, systemRandom);
    });
    const error = await errorOf(making);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    expect(error.hint).toMatch(hint);
  });
});

describe("the command line says so too", () => {
  function tacet(...args: string[]) {
    const env = {
      PATH: process.env.PATH ?? "",
      HOME: folder.path,
      XDG_CACHE_HOME: join(folder.path, "cache"),
    };
    return spawnSync(process.execPath, [MAIN, ...args], { cwd: folder.path, env, encoding: "utf8" });
  }

  it.each<[string, () => string[], number, RegExp]>([
    [
      "a shard missing",
      () => ["generate", "--base", faulty(bases.sharded, remove(SHARD_2)), "--ids", "1,2"],
      2,
      /^error: .* has no model-00002-of-00002\.safetensors, .*\nhint: the download is incomplete: .*\n$/,
    ],
    [
      "NaN in the base",
      () => [
        "generate",
        "--base",
        faulty(bases.f32, setWeight("lm_head.weight", 5, Number.NaN)),
        "--ids",
        "1,2",
      ],
      2,
      /error: the model computes logits that are not finite.*\nhint: .*--check-weights.*\n$/,
    ],
    [
      "NaN in the base, looked for",
      () => [
        "inspect",
        "--check-weights",
        "--base",
        faulty(bases.f32, setWeight("lm_head.weight", 5, Number.NaN)),
      ],
      2,
      /error: model\.safetensors: tensor "lm_head\.weight" .*\nhint: .*\n$/,
    ],
    [
      "a truncated adapter",
      () => [
        "bundle",
        "--base",
        bases.f32,
        "--adapter",
        faulty(adapter, truncate(WEIGHTS, 99)),
        "--out",
        "o",
      ],
      2,
      /^error: adapter_model\.safetensors: .*\nhint: .*download it again\n$/,
    ],
    [
      "no tokenizer",
      () => ["generate", "--base", bases.f32, "a prompt in words"],
      2,
      /error: .*tokenizer.*\nhint: .*--ids.*\n$/,
    ],
  ])("%s", (_, args, code, expected) => {
    const { status, stderr } = tacet(...args());
    expect(stderr).toMatch(expected);
    expect(status).toBe(code);
  });

  it("and a refused bundle leaves nothing behind", () => {
    expect(readdirSync(folder.path)).not.toContain("o");
  });
});
