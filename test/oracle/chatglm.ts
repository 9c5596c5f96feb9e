/** ChatGLM2/3 from the definition: modeling_chatglm.py beside the released checkpoints, read line by line. */
import {
  add,
  causalAttention,
  linear,
  lookUp,
  type OracleLora,
  type Rows,
  rmsNorm,
  silu,
  tensorOf,
  type Weights,
} from "./decoder-math.ts";

/** As config.json has it. */
export interface ChatGlmFields {
  readonly num_layers: number;
  readonly num_attention_heads: number;
  readonly kv_channels: number;
  readonly ffn_hidden_size: number;
  readonly layernorm_epsilon: number;
  readonly multi_query_attention: boolean;
  readonly multi_query_group_num: number;
  readonly add_qkv_bias: boolean;
  readonly add_bias_linear: boolean;
  readonly apply_residual_connection_post_layernorm: boolean;
  readonly post_layer_norm: boolean;
  readonly rope_ratio?: number;
}

/** @param divide positions by rope_ratio, as ChatGLM2-6B-32K does, instead of stretching theta by it */
export function chatGlmForward(
  config: ChatGlmFields,
  weights: Weights,
  ids: readonly number[],
  loras: ReadonlyMap<string, OracleLora> = new Map(),
  divide = false,
): { hiddenLast: Float64Array[]; logits: Rows } {
  const { num_attention_heads: heads, kv_channels: headDim, layernorm_epsilon: epsilon } = config;
  const kvHeads = config.multi_query_attention ? config.multi_query_group_num : heads;
  const apply = (module: string, x: Rows, bias: boolean) =>
    linear(weights, module, x, { bias, lora: loras.get(module) });
  const norm = (x: Rows, name: string) => rmsNorm(x, tensorOf(weights, `${name}.weight`), epsilon);

  let hidden: Rows = lookUp(tensorOf(weights, "transformer.embedding.word_embeddings.weight"), ids);
  const hiddenLast = [hidden.at(-1)!];
  for (let n = 0; n < config.num_layers; n++) {
    const layer = `transformer.encoder.layers.${n}`;
    const normed = norm(hidden, `${layer}.input_layernorm`);
    const mixed = apply(
      `${layer}.self_attention.query_key_value`,
      normed,
      config.add_bias_linear || config.add_qkv_bias,
    );
    const [q, k, v] = splitQkv(mixed, config.multi_query_attention, heads, kvHeads, headDim);
    const turned = [turn(q, heads, config, divide), turn(k, kvHeads, config, divide), v] as const;
    const context = causalAttention(turned, { heads, kvHeads, headDim, scale: headDim ** -0.5 });
    const attended = apply(`${layer}.self_attention.dense`, context, config.add_bias_linear);
    const after = add(config.apply_residual_connection_post_layernorm ? normed : hidden, attended);
    const normedAfter = norm(after, `${layer}.post_attention_layernorm`);
    const inner = apply(`${layer}.mlp.dense_h_to_4h`, normedAfter, config.add_bias_linear).map((row) =>
      row.subarray(0, config.ffn_hidden_size).map((gate, i) => silu(gate) * row[config.ffn_hidden_size + i]),
    );
    const mlp = apply(`${layer}.mlp.dense_4h_to_h`, inner, config.add_bias_linear);
    hidden = add(config.apply_residual_connection_post_layernorm ? normedAfter : after, mlp);
    hiddenLast.push(hidden.at(-1)!);
  }
  const last = config.post_layer_norm ? norm(hidden, "transformer.encoder.final_layernorm") : hidden;
  return { hiddenLast, logits: linear(weights, "transformer.output_layer", last) };
}

function splitQkv(
  mixed: Rows,
  byParts: boolean,
  heads: number,
  kvHeads: number,
  headDim: number,
): [Rows, Rows, Rows] {
  if (byParts) {
    const [q, kv] = [heads * headDim, kvHeads * headDim];
    return [
      mixed.map((row) => row.subarray(0, q)),
      mixed.map((row) => row.subarray(q, q + kv)),
      mixed.map((row) => row.subarray(q + kv)),
    ];
  }
  // view(heads, 3·headDim), then split along the last dimension
  const part = (index: number) =>
    mixed.map((row) =>
      Float64Array.from({ length: heads * headDim }, (_, at) => {
        const head = Math.floor(at / headDim);
        return row[head * 3 * headDim + index * headDim + (at % headDim)];
      }),
    );
  return [part(0), part(1), part(2)];
}

/** Entries 2i and 2i + 1 of the first half of each head, as a complex number times e^(i·angle). */
function turn(
  x: Rows,
  heads: number,
  { kv_channels: headDim, rope_ratio = 1 }: ChatGlmFields,
  divide: boolean,
): Rows {
  const half = headDim / 2;
  const base = 10000 * (divide ? 1 : rope_ratio);
  return x.map((row, position) => {
    const out = row.slice();
    for (let head = 0; head < heads; head++) {
      for (let i = 0; i < half / 2; i++) {
        const angle = (position / (divide ? rope_ratio : 1)) * base ** ((-2 * i) / half);
        const at = head * headDim + 2 * i;
        out[at] = row[at] * Math.cos(angle) - row[at + 1] * Math.sin(angle);
        out[at + 1] = row[at + 1] * Math.cos(angle) + row[at] * Math.sin(angle);
      }
    }
    return out;
  });
}
