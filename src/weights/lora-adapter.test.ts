import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesOf, utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { openLoraAdapter } from "./lora-adapter.ts";
import { memoryFileTree } from "./memory-files.ts";
import { encodeSafetensors, openSafetensors, readTensorBytes, type TensorToEncode } from "./safetensors.ts";

const GOLDEN = "test/fixtures/golden";
const Q = "model.layers.0.self_attn.q_proj";
const V = "model.layers.1.self_attn.v_proj";

const CONFIG = { peft_type: "LORA", r: 2, lora_alpha: 8, target_modules: ["q_proj", "v_proj"], bias: "none" };

function f32(name: string, shape: number[], values?: number[]): TensorToEncode {
  const data = values
    ? Float32Array.from(values)
    : new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.5);
  return { name, dtype: "F32", shape, data: bytesOf(data) };
}

function pair(module: string, rank = 2, inFeatures = 6, outFeatures = 4): TensorToEncode[] {
  const base = `base_model.model.${module}`;
  return [
    f32(`${base}.lora_A.weight`, [rank, inFeatures]),
    f32(`${base}.lora_B.weight`, [outFeatures, rank]),
  ];
}

function adapterTree(changes: Record<string, unknown> = {}, tensors = [...pair(Q), ...pair(V)]) {
  const config = JSON.stringify({ ...CONFIG, ...changes });
  return memoryFileTree({
    "adapter_config.json": utf8(config),
    "adapter_model.safetensors": encodeSafetensors(tensors),
  });
}

async function errorOf(tree: ReturnType<typeof memoryFileTree>): Promise<TacetError> {
  const error = await openLoraAdapter(tree).then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(TacetError);
  return error;
}

describe("openLoraAdapter", () => {
  it("reads the golden F32 adapter: pairs, scale, values at the raw offsets", async () => {
    const { modules } = await openLoraAdapter(nodeFileTree(`${GOLDEN}/llama-f32/adapter`));
    const names = [0, 1, 2].flatMap((layer) =>
      ["q", "v"].map((part) => `model.layers.${layer}.self_attn.${part}_proj`),
    );
    expect([...modules.keys()]).toEqual(names);
    const raw = readFileSync(`${GOLDEN}/llama-f32/adapter/adapter_model.safetensors`);
    const headerLength = Number(raw.readBigUInt64LE(0));
    const header = JSON.parse(raw.toString("utf8", 8, 8 + headerLength));
    for (const module of modules.values()) {
      expect(module).toMatchObject({
        rank: 8,
        inFeatures: 96,
        outFeatures: module.name.endsWith("q_proj") ? 96 : 32,
        scale: 2,
      });
      const start =
        8 + headerLength + header[`base_model.model.${module.name}.lora_B.weight`].data_offsets[0];
      for (const i of [0, 9, module.b.length - 1]) expect(module.b[i]).toBe(raw.readFloatLE(start + 4 * i));
      expect(module.a.length).toBe(8 * 96);
    }
  });

  it("reads the golden BF16 adapter", async () => {
    const { modules } = await openLoraAdapter(nodeFileTree(`${GOLDEN}/llama-bf16-sharded/adapter`));
    expect(modules.size).toBe(12);
    for (const module of modules.values()) expect(module).toMatchObject({ rank: 16, scale: 1.5 });
    const raw = readFileSync(`${GOLDEN}/llama-bf16-sharded/adapter/adapter_model.safetensors`);
    const headerLength = Number(raw.readBigUInt64LE(0));
    const header = JSON.parse(raw.toString("utf8", 8, 8 + headerLength));
    const start = 8 + headerLength + header[`base_model.model.${Q}.lora_A.weight`].data_offsets[0];
    const view = new DataView(new ArrayBuffer(4));
    for (const i of [0, 5, 100]) {
      view.setUint16(0, raw.readUInt16LE(start + 2 * i));
      expect(modules.get(Q)?.a[i]).toBe(view.getFloat32(0));
    }
  });

  it("reads the law adapter", async () => {
    const { modules } = await openLoraAdapter(nodeFileTree("models/lexicon/law-adapter"));
    expect(modules.size).toBe(42);
  });

  it("scales by alpha/r, or alpha/√r with use_rslora", async () => {
    expect((await openLoraAdapter(adapterTree())).modules.get(Q)?.scale).toBe(4);
    expect((await openLoraAdapter(adapterTree({ use_rslora: true }))).modules.get(Q)?.scale).toBe(
      8 / Math.sqrt(2),
    );
  });

  it("gives modules their own rank and alpha by pattern, matched at the end of the path from a dot on", async () => {
    const tensors = [...pair(Q, 4), ...pair(V), ...pair("model.layers.11.self_attn.q_proj")];
    const changes = {
      rank_pattern: { "layers.0.self_attn.q_proj": 4 },
      // "1.self_attn.q_proj" is the end of layer 11's path, but not from a dot on.
      alpha_pattern: { "1.self_attn.q_proj": 100, v_proj: 3, q_proj: 10, "0.self_attn.q_proj": 50 },
    };
    const { modules } = await openLoraAdapter(adapterTree(changes, tensors));
    expect(modules.get(Q)).toMatchObject({ rank: 4, scale: 10 / 4 });
    expect(modules.get(V)).toMatchObject({ rank: 2, scale: 3 / 2 });
    expect(modules.get("model.layers.11.self_attn.q_proj")).toMatchObject({ rank: 2, scale: 10 / 2 });
  });

  it.each([
    { target_modules: ["q_proj", "v_proj"] },
    { target_modules: "all-linear" },
    { target_modules: null },
    { target_modules: ["o_proj"], exclude_modules: ["v_proj"] },
    { target_modules: ".*q_proj\\Z", layers_to_transform: [7], layers_pattern: "(a+)+b" },
    { target_modules: "(.*m.*|.*l.*)".repeat(50) },
  ])("takes the modules that the tensors are of, whatever %j says", async (fields) => {
    expect([...(await openLoraAdapter(adapterTree(fields))).modules.keys()]).toEqual([Q, V]);
  });

  it("reads keys of patterns as PEFT does: regular expressions at the end of the path", async () => {
    const tensors = [...pair(Q, 3), ...pair(V, 5), ...pair("model.layers.11.self_attn.v_proj", 2)];
    const ranks = async (rank_pattern: Record<string, number>) =>
      [...(await openLoraAdapter(adapterTree({ rank_pattern }, tensors))).modules.values()].map(
        ({ rank }) => rank,
      );
    for (const keys of [
      ["q_proj", "layers\\.1\\.self_attn\\.v_proj"],
      ["^model\\.layers\\.0\\..*", "model.layers.[1].self_attn.v_proj$"],
      ["(q|k)_proj", "layers\\.1\\..*v_proj"],
    ])
      expect(await ranks({ [keys[0]]: 3, [keys[1]]: 5 })).toEqual([3, 5, 2]);
  });

  it.each(["rank_pattern", "alpha_pattern"])("%s takes no expression that may take ages", async (field) => {
    for (const key of [
      "(a+)+b",
      ".*".repeat(15),
      "(a|aa)".repeat(20),
      "q[",
      "q)(?:x",
      "",
      "(?=a)",
      "a{9}",
      "\\1",
    ]) {
      const error = await errorOf(adapterTree({ [field]: { [key]: 2 } }));
      expect(error).toMatchObject({
        code: "unsupported_adapter",
        hint: expect.stringMatching(/write the names of the modules out/),
      });
      expect(error.message).toMatch(field);
    }
  });

  it("accepts what ms-swift writes about the training", async () => {
    const swift = {
      lora_dtype: "bfloat16",
      lorap_lr_ratio: 16,
      lorap_emb_lr: 1e-6,
      velora_config: { rank: 1 },
    };
    expect((await openLoraAdapter(adapterTree(swift))).modules.size).toBe(2);
  });

  it("says what an adapter of mlx-lm is", async () => {
    const mlx = {
      peft_type: undefined,
      fine_tune_type: "lora",
      lora_parameters: { rank: 8, scale: 20 },
      num_layers: 16,
    };
    const error = await errorOf(adapterTree(mlx));
    expect(error).toMatchObject({ code: "unsupported_adapter", message: expect.stringMatching(/mlx-lm/) });
  });

  it("says that ZeRO-3 saved empty tensors", async () => {
    const empty = ["A", "B"].map((side) => ({
      name: `base_model.model.${Q}.lora_${side}.weight`,
      dtype: "F32" as const,
      shape: [0],
      data: new Uint8Array(),
    }));
    const error = await errorOf(adapterTree({}, empty));
    expect(error).toMatchObject({ code: "bad_adapter", hint: expect.stringMatching(/ZeRO-3/) });
  });

  it("says that a file is a Git LFS pointer", async () => {
    const pointer = new TextEncoder().encode(
      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345678\n",
    );
    for (const path of ["adapter_model.safetensors", "adapter_config.json"]) {
      const whole = adapterTree({});
      const tree = {
        ...whole,
        size: async (name: string) => (name === path ? pointer.length : await whole.size(name)),
        read: async (name: string, at: number, bytes: number) =>
          name === path ? pointer.slice(at, at + bytes) : await whole.read(name, at, bytes),
      };
      const error = await errorOf(tree);
      expect(error).toMatchObject({ code: "bad_adapter", hint: expect.stringMatching(/git lfs pull/) });
      expect(error.message).toBe(`${path} is a Git LFS pointer, not the file itself`);
    }
  });

  it("reads a state dict that has the adapter's name in its keys, of one adapter", async () => {
    const named = (tensors: TensorToEncode[], adapter: string) =>
      tensors.map((tensor) => ({ ...tensor, name: tensor.name.replace(/weight$/, `${adapter}.weight`) }));
    const { modules } = await openLoraAdapter(adapterTree({}, named([...pair(Q), ...pair(V)], "default")));
    expect([...modules.keys()]).toEqual([Q, V]);
    for (const other of [pair(V), named(pair(Q), "law")]) {
      const error = await errorOf(adapterTree({}, [...named(pair(Q), "default"), ...other]));
      expect(error).toMatchObject({ code: "unsupported_adapter" });
      expect(error.message).toMatch(/more than one adapter: .*"default"/);
    }
  });

  const A = `base_model.model.${Q}.lora_A.weight`;
  const B = `base_model.model.${Q}.lora_B.weight`;
  const [, bOfQ] = pair(Q);
  it.each<[string, Record<string, unknown>, TensorToEncode[] | undefined, string, RegExp]>([
    ["another peft_type", { peft_type: "LOHA" }, undefined, "unsupported_adapter", /LOHA/],
    ["no peft_type", { peft_type: undefined }, undefined, "unsupported_adapter", /peft_type/],
    ["QALoRA", { use_qalora: true }, undefined, "unsupported_adapter", /QALoRA/],
    [
      "layer_replication",
      { layer_replication: [[0, 2]] },
      undefined,
      "unsupported_adapter",
      /layer_replication/,
    ],
    [
      "an invocation as text",
      { invocation_string: "<|go|>" },
      undefined,
      "unsupported_adapter",
      /invocation_string/,
    ],
    ...[[], "7", [1.5], [-1], Array(65).fill(1), [7, "8"]].map(
      (tokens): [string, Record<string, unknown>, undefined, string, RegExp] => [
        `an invocation of ${JSON.stringify(tokens).slice(0, 20)}`,
        { alora_invocation_tokens: tokens },
        undefined,
        "bad_adapter",
        /alora_invocation_tokens/,
      ],
    ),
    ["PiSSA", { init_lora_weights: "pissa_niter_4" }, undefined, "unsupported_adapter", /init_lora_weights/],
    ["OLoRA", { init_lora_weights: "olora" }, undefined, "unsupported_adapter", /init_lora_weights/],
    ["an unknown option", { use_magic: true }, undefined, "unsupported_adapter", /"use_magic"/],
    ["fan_in_fan_out as text", { fan_in_fan_out: "no" }, undefined, "bad_adapter", /fan_in_fan_out/],
    [
      "a bad pattern rank",
      { rank_pattern: { q_proj: 0 } },
      undefined,
      "bad_adapter",
      /rank_pattern "q_proj"/,
    ],
    [
      "a bad pattern alpha",
      { alpha_pattern: { q_proj: "8" } },
      undefined,
      "bad_adapter",
      /alpha_pattern "q_proj"/,
    ],
    ["rank 0", { r: 0 }, undefined, "bad_adapter", /r is not a rank/],
    ["half a rank", { r: 2.5 }, undefined, "bad_adapter", /r is not a rank/],
    ["no alpha", { lora_alpha: null }, undefined, "bad_adapter", /lora_alpha/],
    ["use_rslora as text", { use_rslora: "false" }, undefined, "bad_adapter", /use_rslora/],
    [
      "another rank than the tensors",
      { r: 3 },
      undefined,
      "bad_adapter",
      /has rank 2, the configuration says 3/,
    ],
    ["no tensors", {}, [], "bad_adapter", /no LoRA tensors/],
    ["A without B", {}, [pair(Q)[0]], "bad_adapter", /lora_A and no lora_B/],
    ["B without A", {}, [bOfQ], "bad_adapter", /lora_B and no lora_A/],
    [
      "ranks of A and B that differ",
      {},
      [pair(Q)[0], f32(B, [4, 3])],
      "bad_adapter",
      /rank 2 and a lora_B of rank 3/,
    ],
    ["an empty module", {}, [f32(A, [2, 0]), bOfQ], "bad_adapter", /empty/],
    ["NaN", {}, [f32(A, [2, 1], [1, Number.NaN]), bOfQ], "bad_adapter", /not finite/],
    [
      "infinity in B",
      {},
      [pair(Q)[0], f32(B, [1, 2], [1, Number.NEGATIVE_INFINITY])],
      "bad_adapter",
      /not finite/,
    ],
    ["a convolution", {}, [f32(A, [2, 6, 1, 1]), f32(B, [4, 2, 1, 1])], "unsupported_adapter", /not linear/],
    [
      "integers",
      {},
      [{ name: A, dtype: "I8", shape: [2, 6], data: new Uint8Array(12) }, bOfQ],
      "unsupported_adapter",
      /I8/,
    ],
    [
      "DoRA without magnitudes",
      { use_dora: true },
      undefined,
      "bad_adapter",
      /no lora_magnitude_vector, and use_dora is set/,
    ],
    [
      "a magnitude vector without DoRA",
      {},
      [...pair(Q), f32(`base_model.model.${Q}.lora_magnitude_vector`, [4])],
      "bad_adapter",
      /lora_magnitude_vector, and use_dora is not set/,
    ],
    [
      "magnitudes of another length",
      { use_dora: true },
      [...pair(Q), f32(`base_model.model.${Q}.lora_magnitude_vector`, [3])],
      "bad_adapter",
      /of shape \[3\] for 4 outputs/,
    ],
    [
      "magnitudes of no pair",
      { use_dora: true },
      [f32(`base_model.model.${Q}.lora_magnitude_vector`, [4])],
      "bad_adapter",
      /no lora_A and no lora_B beside/,
    ],
    ["lora_bias without biases", { lora_bias: true }, undefined, "bad_adapter", /no lora_B.bias/],
    [
      "a bias of lora_B without lora_bias",
      {},
      [...pair(Q), f32(`base_model.model.${Q}.lora_B.bias`, [4])],
      "bad_adapter",
      /lora_bias is not set/,
    ],
    [
      "NaN in a bias",
      { lora_bias: true },
      [...pair(Q), f32(`base_model.model.${Q}.lora_B.bias`, [4], [0, Number.NaN, 0, 0])],
      "bad_adapter",
      /not finite/,
    ],
    [
      "half an embedding",
      {},
      [...pair(Q), f32("base_model.model.model.embed_tokens.lora_embedding_A", [2, 6])],
      "bad_adapter",
      /lora_embedding_A and no lora_embedding_B/,
    ],
    [
      "NaN in a whole module",
      { modules_to_save: ["lm_head"] },
      [...pair(Q), f32("base_model.model.lm_head.weight", [1, 2], [1, Number.NaN])],
      "bad_adapter",
      /lm_head.weight" holds values that are not finite/,
    ],
    [
      "integers in a whole module",
      { modules_to_save: ["lm_head"] },
      [
        ...pair(Q),
        { name: "base_model.model.lm_head.weight", dtype: "I8", shape: [2], data: new Uint8Array(2) },
      ],
      "bad_adapter",
      /stored as I8/,
    ],
    [
      "rows of tokens that are not named",
      {},
      [...pair(Q), f32("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", [1, 6])],
      "bad_adapter",
      /trainable_token_indices does not name it/,
    ],
    [
      "another number of rows than of tokens",
      { trainable_token_indices: [3, 5] },
      [...pair(Q), f32("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", [1, 6])],
      "bad_adapter",
      /shape \[1,6\] for the 2 ids/,
    ],
    ["a token twice", { trainable_token_indices: [3, 3] }, undefined, "bad_adapter", /distinct token ids/],
    ["a bias of another kind", { bias: "some" }, undefined, "bad_adapter", /bias is not/],
    ["modules_to_save as text", { modules_to_save: "lm_head" }, undefined, "bad_adapter", /list of names/],
    [
      "parameters that are not named",
      { target_parameters: ["mlp.other.up"] },
      pair("model.layers.0.mlp.experts.base_layer"),
      "bad_adapter",
      /target_parameters names 0/,
    ],
    ["an unknown start", { init_lora_weights: "magic" }, undefined, "unsupported_adapter", /"magic"/],
    [
      "another prefix",
      {},
      [f32(`${Q}.lora_A.weight`, [2, 6])],
      "unsupported_adapter",
      /is none that PEFT's LoRA has/,
    ],
  ])("refuses %s", async (_, changes, tensors, code, message) => {
    const error = await errorOf(adapterTree(changes, tensors));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
  });

  it("names missing and pickled files", async () => {
    const config = utf8(JSON.stringify(CONFIG));
    expect((await errorOf(memoryFileTree({}))).message).toMatch(/no adapter_config.json/);
    expect(await errorOf(memoryFileTree({ "adapter_config.json": config }))).toMatchObject({
      code: "bad_adapter",
    });
    const pickle = await errorOf(
      memoryFileTree({ "adapter_config.json": config, "adapter_model.bin": new Uint8Array(8) }),
    );
    expect(pickle).toMatchObject({
      code: "unsupported_adapter",
      message: expect.stringMatching(/pickle/),
      hint: expect.any(String),
    });
    const damaged = { "adapter_config.json": config, "adapter_model.safetensors": new Uint8Array(8) };
    expect(await errorOf(memoryFileTree(damaged))).toMatchObject({ code: "bad_adapter" });
  });

  it("ignores fields that say how the adapter was trained", async () => {
    const changes = {
      lora_dropout: 0.1,
      loftq_config: {},
      megatron_core: "megatron.core",
      qalora_group_size: 16,
      init_lora_weights: "gaussian",
      layers_to_transform: [0, 1],
      use_dora: false,
      modules_to_save: [],
      task_type: "CAUSAL_LM",
      peft_version: "0.18.0",
      arrow_config: null,
    };
    expect((await openLoraAdapter(adapterTree(changes))).modules.size).toBe(2);
  });

  it("throws nothing but TacetError on any configuration", async () => {
    const fields = [
      "r",
      "lora_alpha",
      "rank_pattern",
      "alpha_pattern",
      "target_modules",
      "bias",
      "use_rslora",
      "fan_in_fan_out",
      "layers_to_transform",
      "layers_pattern",
      "exclude_modules",
      "init_lora_weights",
      "use_dora",
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...fields),
        fc.oneof(fc.jsonValue(), fc.dictionary(fc.string(), fc.jsonValue())),
        async (field, value) => {
          await openLoraAdapter(adapterTree({ [field]: value })).catch((error) =>
            expect(error).toBeInstanceOf(TacetError),
          );
        },
      ),
      { numRuns: process.env.SLOW ? 5000 : 300 },
    );
  });
});

describe("encodeSafetensors", () => {
  it("keeps the tensors of a real adapter byte for byte", async () => {
    const tree = nodeFileTree(`${GOLDEN}/llama-bf16-sharded/adapter`);
    const file = await openSafetensors(tree, "adapter_model.safetensors");
    const tensors = await Promise.all(
      [...file.tensors.values()].map(async (info) => ({ ...info, data: await readTensorBytes(tree, info) })),
    );
    const copy = memoryFileTree({ x: encodeSafetensors(tensors, file.metadata) });
    const again = await openSafetensors(copy, "x");
    expect([...again.tensors.keys()]).toEqual([...file.tensors.keys()]);
    for (const { name, data } of tensors)
      expect(await readTensorBytes(copy, again.tensors.get(name)!)).toEqual(data);
  });
});
