/** Every field of PEFT's LoraConfig, switched on: it is read, it changes nothing, or it is refused by its name. */
import { describe, expect, it } from "vitest";
import { expectTable } from "../../test/support/computed-parts.ts";
import { readLoraConfig } from "./lora-config.ts";
import { HANDLED_FIELDS, INERT_FIELDS, UNSUPPORTED_FIELDS } from "./lora-fields.ts";

const PLAIN = { peft_type: "LORA", r: 4, lora_alpha: 8, bias: "none" };
const MODULE = "model.layers.0.self_attn.q_proj";

/** What of the configuration a program can see. */
const seen = (config: Record<string, unknown>) => {
  const read = readLoraConfig({ ...PLAIN, ...config });
  const { rankOf, scaleOf, savesModule, tokensOf, parametersOf, ...rest } = read;
  return {
    ...rest,
    of: [rankOf(MODULE), scaleOf(MODULE), savesModule(MODULE), tokensOf(MODULE), parametersOf("mlp.experts")],
  };
};

/** Of peft 0.21.0, src/peft/tuners/lora/config.py and src/peft/config.py, with a value that is not the default. */
const READ: Record<string, unknown> = {
  r: 5,
  lora_alpha: 9,
  bias: "all",
  use_rslora: true,
  modules_to_save: ["q_proj"],
  rank_pattern: { q_proj: 2 },
  alpha_pattern: { q_proj: 2 },
  trainable_token_indices: [1, 2],
  use_dora: true,
  lora_bias: true,
  target_parameters: ["mlp.experts.gate_up_proj"],
  ensure_weight_tying: true,
  alora_invocation_tokens: [7, 8],
};
const HARMLESS: Record<string, unknown> = {
  target_modules: "all-linear",
  exclude_modules: ["k_proj"],
  lora_dropout: 0.1,
  fan_in_fan_out: true,
  init_lora_weights: "gaussian",
  layers_to_transform: [0],
  layers_pattern: "layers",
  megatron_config: { size: 1 },
  megatron_core: "other.core",
  loftq_config: { loftq_bits: 4 },
  eva_config: { rho: 1 },
  corda_config: { corda_method: "ipm" },
  lora_ga_config: { direction: "ArB2r" },
  velora_config: { rank: 1 },
  qalora_group_size: 8,
  runtime_config: { ephemeral_gpu_offload: true },
  task_type: "CAUSAL_LM",
  inference_mode: false,
  base_model_name_or_path: "some/model",
  revision: "main",
  auto_mapping: { base_model_class: "X" },
  peft_version: "0.21.0",
};
const REFUSED: Record<string, unknown> = {
  peft_type: "LOHA",
  use_qalora: true,
  monteclora_config: { samples: 2 },
  layer_replication: [[0, 2]],
  use_bdlora: { nblocks: 2 },
  arrow_config: { top_k: 1 },
  kasa_config: { beta: 1 },
};

const MODELS = new URL("../../docs/models.md", import.meta.url);

describe("fields of LoraConfig", () => {
  it("are those of the tables, and the tables are in docs/models.md", () => {
    const table = Object.entries(HANDLED_FIELDS).map(
      ([field, { what, publishes = [] }]) => `| \`${field}\` | ${what} | ${publishes.join(", ")} |`,
    );
    const list = (fields: Iterable<string>) => [...fields].map((field) => "`" + field + "`").join(", ");
    expectTable(
      MODELS,
      "adapters",
      [
        "| field | what it does | a client must be shown |",
        "|---|---|---|",
        ...table,
        "",
        `Nothing about the function, and not asked: ${list(INERT_FIELDS)}.`,
        "",
        `Refused by name, and so is every field that is switched on and unknown: ${list(Object.keys(UNSUPPORTED_FIELDS))}.`,
      ].join("\n"),
    );
    for (const field of Object.keys(READ)) expect(HANDLED_FIELDS).toHaveProperty(field);
    for (const field of Object.keys(HARMLESS)) {
      const isRead = Object.hasOwn(HANDLED_FIELDS, field);
      expect(isRead || INERT_FIELDS.has(field), field).toBe(true);
    }
  });

  it.each(Object.entries(READ))("%s is read", (field, value) => {
    expect(seen({ [field]: value })).not.toEqual(seen({}));
  });

  it.each(Object.entries(HARMLESS))("%s says nothing about the function", (field, value) => {
    expect(seen({ [field]: value })).toEqual(seen({}));
  });

  it.each(Object.entries(REFUSED))("%s is refused by name", (field, value) => {
    expect(() => readLoraConfig({ ...PLAIN, [field]: value })).toThrow(
      expect.objectContaining({ code: "unsupported_adapter", message: expect.stringContaining(field) }),
    );
  });

  it.each([[null], [false], [[]], [{}]])("that are switched off with %j are left alone", (off) => {
    for (const field of Object.keys(REFUSED)) if (field !== "peft_type") seen({ [field]: off });
  });
});
