/** The Llama family: RMS norm, rotary attention with grouped heads, gated MLP. */

import { type DecoderConfig, parseLlamaConfig } from "../config.ts";
import { newRowsName, pastKeyName, pastValueName } from "../kv-cache.ts";
import type { LinearPlace } from "../linear-place.ts";
import { CONTRIB, type Dims } from "../onnx-graph.ts";
import { ropeTables } from "../rope.ts";
import type { SegmentBuilder, Value } from "../segment-builder.ts";
import { LOGITS } from "../segment-pass.ts";
import type { Architecture, Given } from "./architecture.ts";

export const llama: Architecture = {
  name: "LlamaForCausalLM",
  modelType: "llama",
  parseConfig: parseLlamaConfig,
  cacheShape: ({ layers, kvHeads, headDim }) => ({ layers, kvHeads, headDim: cachedHeadDim(headDim) }),
  linearPlaces,
  write,
};

/** The attention operator turns heads of a multiple of 16 entries only; others are padded with zeros. */
function cachedHeadDim(headDim: number): number {
  return 16 * Math.ceil(headDim / 16);
}

function linearPlaces(config: DecoderConfig): LinearPlace[] {
  const { hiddenSize, mlpSize, headDim, bias } = config;
  const q = config.heads * headDim;
  const kv = config.kvHeads * headDim;
  return Array.from({ length: config.layers }, (_, layer) => {
    const place = (
      block: string,
      modules: string[],
      inFeatures: number,
      outFeatures: number[],
      bias: boolean,
    ): LinearPlace => ({
      layer,
      modules: modules.map((name) => `model.layers.${layer}.${block}.${name}`),
      inFeatures,
      outFeatures,
      bias,
    });
    return [
      place("self_attn", ["q_proj", "k_proj", "v_proj"], hiddenSize, [q, kv, kv], bias.qkv),
      place("self_attn", ["o_proj"], q, [hiddenSize], bias.attentionOut),
      place("mlp", ["gate_proj", "up_proj"], hiddenSize, [mlpSize, mlpSize], bias.mlp),
      place("mlp", ["down_proj"], mlpSize, [hiddenSize], bias.mlp),
    ];
  }).flat();
}

/**
 * h = embed(ids); each layer: h += o(attention(q, k, v of norm(h))), h += down(silu(gate)·up of norm(h));
 * logits = head(norm(h)).
 */
function write(
  builder: SegmentBuilder,
  config: DecoderConfig,
  places: readonly LinearPlace[],
  given: Given,
): Value {
  const pass = new LlamaPass(builder, config, given);
  const h = pass.embed();
  let x = pass.norm(h, "model.layers.0.input_layernorm.weight");
  let residual = h;
  for (let layer = 0; layer < config.layers; layer++) {
    const [qkv, out, gateUp, down] = places.slice(4 * layer, 4 * layer + 4);
    const attended = builder.linear(out, pass.attention(layer, builder.linear(qkv, x)));
    [x, residual] = pass.addNorm(residual, attended, `model.layers.${layer}.post_attention_layernorm.weight`);
    const mlp = builder.linear(down, pass.gate(builder.linear(gateUp, x)));
    const next = layer + 1 < config.layers ? `model.layers.${layer + 1}.input_layernorm` : "model.norm";
    [x, residual] = pass.addNorm(residual, mlp, `${next}.weight`);
  }
  return pass.head(x);
}

/** The pieces between the linear modules. All values are (1, tokens, width). */
class LlamaPass {
  readonly #builder: SegmentBuilder;
  readonly #config: DecoderConfig;
  readonly #given: Given;
  readonly #tables: { readonly cos: Float32Array; readonly sin: Float32Array };

  constructor(builder: SegmentBuilder, config: DecoderConfig, given: Given) {
    this.#builder = builder;
    this.#config = config;
    this.#given = given;
    const { rope, headDim } = config;
    this.#tables = ropeTables(rope, headDim, given.maxPositions, cachedHeadDim(headDim) / 2);
  }

  /** The rows are widened after the look-up, so that the table stays in the file as it is. */
  embed(): Value {
    const { vocabSize, hiddenSize } = this.#config;
    const dims: Dims = [1, "tokens", hiddenSize];
    const { stored, type } = this.#builder.storedWeight("model.embed_tokens.weight", [vocabSize, hiddenSize]);
    const [rows] = this.#builder.node("Gather", [stored, this.#given.ids], [{ dims, type }]);
    if (type === "float32") return rows;
    return this.#builder.node("Cast", [rows], [{ dims }], { attributes: { to: 1 } })[0];
  }

  /** x = h / sqrt(mean(h²) + eps) · weight */
  norm(h: Value, weight: string): Value {
    const { hiddenSize, normEpsilon } = this.#config;
    const attributes = { axis: -1, epsilon: { float: normEpsilon } };
    const scale = this.#builder.weight(weight, [hiddenSize]);
    return this.#builder.node("SimplifiedLayerNormalization", [h, scale], [{ dims: h.dims }], {
      attributes,
    })[0];
  }

  /** h' = h + y, x = norm(h'): [x, h'] */
  addNorm(h: Value, y: Value, weight: string): [Value, Value] {
    const { hiddenSize, normEpsilon } = this.#config;
    const scale = this.#builder.weight(weight, [hiddenSize]);
    const spec = { dims: h.dims };
    const [x, , , sum] = this.#builder.node(
      "SkipSimplifiedLayerNormalization",
      [h, y, scale],
      [spec, null, null, spec],
      { domain: CONTRIB, attributes: { epsilon: { float: normEpsilon } } },
    );
    return [x, sum];
  }

  /** softmax(q·kᵀ / sqrt(headDim))·v over the cache, which gains k and v of the new tokens; q and k are turned. */
  attention(layer: number, qkv: Value): Value {
    const { heads, kvHeads, headDim } = this.#config;
    const builder = this.#builder;
    const { past, total, maxPositions } = this.#given;
    const cachedDim = cachedHeadDim(headDim);
    const cache: Dims = [1, kvHeads, "capacity", cachedDim];
    const present: Dims = [1, kvHeads, "present", cachedDim];
    // The operator wants the last position, and takes the number of positions beside it.
    const [last] = builder.node(
      "Sub",
      [total, builder.graph.constant([1], Int32Array.of(1))],
      [{ dims: [1], type: "int32" }],
    );
    const [out, key, value] = builder.node(
      "GroupQueryAttention",
      [
        this.#resizeHeads(qkv, heads + 2 * kvHeads, headDim, cachedDim),
        "",
        "",
        builder.given(pastKeyName(layer), "float32", cache),
        builder.given(pastValueName(layer), "float32", cache),
        last,
        total,
        builder.graph.constant([maxPositions, cachedDim / 2], this.#tables.cos),
        builder.graph.constant([maxPositions, cachedDim / 2], this.#tables.sin),
      ],
      [{ dims: [1, "tokens", heads * cachedDim] }, { dims: present }, { dims: present }],
      {
        domain: CONTRIB,
        attributes: {
          num_heads: heads,
          kv_num_heads: kvHeads,
          do_rotary: 1,
          scale: { float: 1 / Math.sqrt(headDim) },
        },
      },
    );
    // The operator gives the whole cache; only the new rows leave the graph.
    const rows: Dims = [1, kvHeads, "tokens", cachedDim];
    const axis = builder.graph.constant([1], Int32Array.of(2));
    const parts = [key, value].map((x) => builder.node("Slice", [x, past, total, axis], [{ dims: rows }])[0]);
    const joined = { dims: [1, 2 * kvHeads, "tokens", cachedDim], name: newRowsName(layer) };
    builder.expose(builder.node("Concat", parts, [joined], { attributes: { axis: 1 } })[0]);
    return this.#resizeHeads(out, heads, cachedDim, headDim);
  }

  /** Each half of each head padded with zeros or cut, so that the pairs that are turned stay pairs. */
  #resizeHeads(x: Value, heads: number, from: number, to: number): Value {
    if (from === to) return x;
    const builder = this.#builder;
    const halves = (d: number): Dims => [1, "tokens", 2 * heads, d / 2];
    const reshape = (value: Value, dims: Dims): Value => {
      const shape = dims.map((size) => BigInt(typeof size === "number" ? size : -1));
      const constant = builder.graph.constant([dims.length], BigInt64Array.from(shape));
      return builder.node("Reshape", [value, constant], [{ dims }])[0];
    };
    // Negative padding cuts.
    const pads = BigInt64Array.of(0n, 0n, 0n, 0n, 0n, 0n, 0n, BigInt((to - from) / 2));
    const [resized] = builder.node(
      "Pad",
      [reshape(x, halves(from)), builder.graph.constant([8], pads)],
      [{ dims: halves(to) }],
    );
    return reshape(resized, [1, "tokens", heads * to]);
  }

  /** silu(gate)·up */
  gate(gateUp: Value): Value {
    const spec = { dims: [1, "tokens", this.#config.mlpSize] };
    const [gate, up] = this.#builder.node("Split", [gateUp], [spec, spec], {
      attributes: { axis: -1, num_outputs: 2 },
    });
    // x·sigmoid(alpha·x): with alpha 1 it is silu.
    const [activated] = this.#builder.node("QuickGelu", [gate], [spec], {
      domain: CONTRIB,
      attributes: { alpha: { float: 1 } },
    });
    return this.#builder.node("Mul", [activated, up], [spec])[0];
  }

  /** Logits of the rows from `firstRow` on. */
  head(x: Value): Value {
    const { vocabSize, hiddenSize, tiedHead } = this.#config;
    const builder = this.#builder;
    const end = builder.graph.constant([1], BigInt64Array.of(2n ** 62n));
    const axis = builder.graph.constant([1], BigInt64Array.of(1n));
    const [rows] = builder.node(
      "Slice",
      [x, this.#given.firstRow, end, axis],
      [{ dims: [1, "rows", hiddenSize] }],
    );
    const name = tiedHead ? "model.embed_tokens.weight" : "lm_head.weight";
    const transposed = builder.graph.freshName("head");
    builder.graph.node("Transpose", [builder.weight(name, [vocabSize, hiddenSize])], [transposed], {
      attributes: { perm: [1, 0] },
    });
    return builder.node("MatMul", [rows, transposed], [{ dims: [1, "rows", vocabSize], name: LOGITS }])[0];
  }
}
