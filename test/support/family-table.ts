/** The table of families in docs/models.md, from the families themselves and the walk over their classes' fields. */

import { readFileSync } from "node:fs";
import { TacetError } from "../../src/base/errors.ts";
import type { Architecture } from "../../src/model/architectures/architecture.ts";
import type { RawConfig } from "../../src/model/architectures/config-fields.ts";
import { ARCHITECTURES } from "../../src/model/architectures/registry.ts";
import type { Block, Decoder } from "../../src/model/graph/decoder.ts";

interface Walk {
  readonly base: RawConfig;
  readonly changes: readonly (readonly [field: string, value: unknown, effect: string])[];
}

const WALKS = Object.values(
  JSON.parse(readFileSync(new URL("../fixtures/config-fields.json", import.meta.url), "utf8")),
) as Walk[];

/** Every family has these, under some name. */
const SIZES =
  /^(?:hidden_size|n_embd|intermediate_size|n_inner|ffn_dim|ffn_hidden_size|num_hidden_layers|n_layer|num_attention_heads|n_head|num_key_value_heads|num_kv_heads|vocab_size|max_position_embeddings|n_positions|head_dim|tie_word_embeddings|rope_parameters|partial_rotary_factor|rms_norm_eps|layer_norm_eps(?:ilon)?|norm_eps(?:ilon)?|hidden_act(?:ivation)?|activation(?:_function)?)$/;

export function familyTable(): string {
  const rows = ARCHITECTURES.map((family) => {
    const walks = WALKS.filter(({ base }) => (base.architectures as string[])[0] === family.name);
    const decoder = family.describe(walks[0]?.base ?? { model_type: family.modelType });
    const { read, refused } = fieldsOf(family, walks);
    return [`\`${family.name}\``, family.released, traitsOf(decoder).join("; "), code(read), code(refused)];
  });
  const head = [
    "`architectures`",
    "models",
    "what it has",
    "read besides the sizes",
    "refused if switched on",
  ];
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

const code = (names: readonly string[]): string => names.map((name) => `\`${name}\``).join(", ");

/** Fields of its class that make a difference here, and those that are refused whatever else they say. */
function fieldsOf(family: Architecture, walks: readonly Walk[]): { read: string[]; refused: string[] } {
  const [read, refused] = [new Set<string>(), new Set<string>()];
  for (const { base, changes } of walks) {
    const plain = JSON.stringify(family.describe(base));
    for (const [field, value, effect] of changes) {
      if (SIZES.test(field) || effect === "invalid") continue;
      try {
        if (JSON.stringify(family.describe({ ...base, [field]: value })) !== plain) read.add(field);
      } catch (error) {
        if (!(error instanceof TacetError)) throw error;
        if (error.code === "unsupported_model") refused.add(field);
      }
    }
  }
  return { read: [...read].sort(), refused: [...refused].filter((field) => !read.has(field)).sort() };
}

function traitsOf(decoder: Decoder): string[] {
  const blocks = decoder.blocks.flat();
  const modules = blocks.flatMap(({ branches }) => branches.map(({ module }) => module));
  const attentions = modules.flatMap((module) => (module.kind === "attention" ? [module] : []));
  const every = (has: boolean[], what: string): string[] =>
    !has.includes(true) ? [] : [has.includes(false) ? `${what} in some layers` : what];
  const traits = [normTraits(blocks)];
  if (blocks.some(({ branches }) => branches.length > 1)) traits.push("attention and MLP beside each other");
  const turned = attentions.find(({ rotary }) => rotary)?.rotary;
  if (turned) {
    const share = Math.max(...attentions.map(({ rotary, headDim }) => (rotary?.dims ?? 0) / headDim));
    const part = share < 1 ? ` of ${share} of each head` : "";
    const pairs = turned.pairs === "neighbours" ? ", neighbours together" : "";
    traits.push(
      ...every(
        attentions.map(({ rotary }) => rotary !== null),
        `rotary positions${part}${pairs}`,
      ),
    );
  }
  const ropes = new Set(attentions.flatMap(({ rotary }) => (rotary ? [JSON.stringify(rotary)] : [])));
  if (ropes.size > 1) traits.push("two rotations");
  if (decoder.embedding.positions) traits.push("learned positions");
  if (attentions.some(({ linearBias }) => linearBias)) traits.push("ALiBi");
  traits.push(
    ...every(
      attentions.map(({ window }) => window !== null),
      "a window",
    ),
  );
  const normed = attentions.find((attention) => attention.normed)?.normed;
  if (normed) {
    const what = normed.over === "all" ? "q and k normed as a whole" : "heads of q and k normed";
    traits.push(normed.when === "behind" ? `${what} behind the rotation` : what);
  }
  if (attentions.some(({ softCap }) => softCap)) traits.push("scores in a soft cap");
  if (attentions.some(({ sinks }) => sinks)) traits.push("sinks");
  if (attentions.some(({ gated }) => gated)) traits.push("gated attention");
  if (attentions.some(({ queryScale }) => queryScale)) traits.push("queries grow with their position");
  if (modules.some(({ kind }) => kind === "delta-net")) traits.push("gated delta net in some layers");
  traits.push(...mlpTraits(modules));
  if (attentions.some(({ in: qkv }) => qkv.modules.length === 1)) traits.push("q, k and v in one module");
  const biases = [attentions.some(({ in: qkv }) => qkv.bias), attentions.some(({ out }) => out.bias)];
  if (biases[0]) traits.push(biases[1] ? "biases in attention" : "biases of q, k and v");
  const { embedding, head } = decoder;
  if (embedding.scale !== undefined && embedding.scale !== 1) traits.push("embedding scaled");
  if (embedding.norm) traits.push("embedding normed");
  if (embedding.perLayer) traits.push("an embedding for each layer");
  if (blocks.some(({ scale }) => scale !== undefined)) traits.push("residual scaled");
  if (head.scale !== undefined && head.scale !== 1) traits.push("logits scaled");
  if (head.softCap !== undefined) traits.push("logits in a soft cap");
  return traits;
}

function normTraits(blocks: readonly Block[]): string {
  const branches = blocks.flatMap(({ branches, shared }) =>
    branches.map((branch) => ({ ...branch, before: branch.before ?? shared?.before ?? null })),
  );
  const ofLayer = branches.filter(({ module }) => module.kind !== "per-layer-input");
  const norm = ofLayer.flatMap(({ before, behind }) => before ?? behind ?? [])[0];
  const places = [
    ...(ofLayer.some(({ before }) => before) ? ["before"] : []),
    ...(ofLayer.some(({ behind }) => behind) ? ["behind"] : []),
  ];
  const kind =
    norm.kind === "rms" ? "RMS norm" : norm.bias === undefined ? "layer norm without bias" : "layer norm";
  return `${kind} ${places.join(" and ")}${norm.plusOne ? ", stored less 1" : ""}`;
}

function mlpTraits(modules: readonly Block["branches"][number]["module"][]): string[] {
  const traits = new Set<string>();
  for (const module of modules) {
    if (module.kind === "experts") traits.add(module.shared ? "experts, one of them shared" : "experts");
    if (module.kind === "mlp") traits.add(`${module.gated ? "gated" : "plain"} MLP, ${module.activation}`);
  }
  return [...traits];
}
