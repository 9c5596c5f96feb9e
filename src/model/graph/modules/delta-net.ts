/**
 * Gated delta net: attention whose memory is a matrix a head instead of keys and values of all tokens.
 *
 *   [q | k | v] = silu(conv(W·x)), each channel by itself over its last `taps` tokens;  q, k of length 1
 *   S' = exp(g)·S;  S = S' + k·(beta·(v - S'ᵀk))ᵀ;  o = Sᵀq / √d
 *   y = W_o·(norm(o)·silu(z)),  g = -exp(A)·softplus(a + bias),  beta = sigmoid(b)
 *
 * Source: transformers, models/qwen3_5/modeling_qwen3_5.py.
 */

import { activate } from "../blocks/activation.ts";
import { splitColumns } from "../blocks/columns.ts";
import { type Norm, normHeads } from "../blocks/norm.ts";
import { reshape } from "../blocks/reshape.ts";
import type { LinearPlace } from "../linear-place.ts";
import { CONTRIB, type Value } from "../onnx-graph.ts";
import { newStateName, pastStateName } from "../pass-values.ts";
import type { ModuleWriter } from "./module-writer.ts";
import type { PassWriter } from "./pass-writer.ts";

export interface DeltaNet {
  readonly kind: "delta-net";
  readonly layer: number;
  /** [q | k | v], z, b and a, in four modules. */
  readonly in: LinearPlace;
  readonly keyHeads: number;
  /** A multiple of `keyHeads`. */
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Name of a tensor (channels, 1, taps). */
  readonly convolution: string;
  readonly taps: number;
  /** Names of tensors (valueHeads). */
  readonly decay: { readonly log: string; readonly bias: string };
  readonly norm: Norm;
  readonly out: LinearPlace;
}

/** Added to the sum of squares of a head of q or k. */
const LENGTH_EPSILON = 1e-6;

export const deltaNetWriter: ModuleWriter<DeltaNet> = {
  places: ({ in: first, out }) => [first, out],
  entry: ({ in: first }) => first,
  cache: (net) => ({
    layer: net.layer,
    cache: { states: [convolutionDims(net), memoryDims(net)] },
  }),
  write(pass, net, entered) {
    const { builder } = pass;
    builder.toConversation();
    const { valueHeads, valueDim } = net;
    const [mixed, z, b, a] = splitColumns(builder, entered, [...net.in.outFeatures]);
    const [q, k, v] = headParts(pass, net, convolve(pass, net, mixed));
    const [beta] = builder.node("Sigmoid", [b], [{ dims: b.dims }]);
    const read = remember(pass, net, [q, k, v], decayOf(pass, net, a), beta);
    const gate = activate(builder, z, "silu");
    const normed = normHeads(builder, read, valueHeads, net.norm);
    const dims = [1, "tokens", valueHeads * valueDim];
    return { place: net.out, x: builder.node("Mul", [normed, gate], [{ dims }])[0] };
  },
};

function channelsOf({ keyHeads, valueHeads, keyDim, valueDim }: DeltaNet): number {
  return 2 * keyHeads * keyDim + valueHeads * valueDim;
}

/** The tokens before, of which the next outputs are made. */
function convolutionDims(net: DeltaNet): number[] {
  return [1, net.taps - 1, channelsOf(net)];
}

function memoryDims({ valueHeads, keyDim, valueDim }: DeltaNet): number[] {
  return [1, valueHeads, keyDim, valueDim];
}

/** silu(conv(x)) over the tokens before, too: x (1, tokens, channels) */
function convolve({ builder }: PassWriter, net: DeltaNet, x: Value): Value {
  const state = convolutionDims(net);
  const [y, next] = builder.node(
    "CausalConvWithState",
    [
      x,
      builder.weight(net.convolution, [channelsOf(net), 1, net.taps]),
      "",
      builder.given(pastStateName(net.layer, 0), "float32", state),
    ],
    [{ dims: x.dims }, { dims: state, name: newStateName(net.layer, 0) }],
    { domain: CONTRIB, attributes: { ndim: 1, channels_last: 1, activation: { text: "silu" } } },
  );
  builder.expose(next);
  return y;
}

/** q, k and v; every head of q and k of length 1. */
function headParts({ builder }: PassWriter, net: DeltaNet, joined: Value): [Value, Value, Value] {
  const { keyHeads, valueHeads, keyDim, valueDim } = net;
  const keys = keyHeads * keyDim;
  const [q, k, v] = splitColumns(builder, joined, [keys, keys, valueHeads * valueDim]);
  // x / √(Σx² + e) is an RMS norm: the mean is Σx² / d.
  const length = builder.graph.constant([keyDim], new Float32Array(keyDim).fill(1 / Math.sqrt(keyDim)));
  const attributes = { axis: -1, epsilon: { float: LENGTH_EPSILON / keyDim } };
  const unit = (x: Value): Value => {
    const heads = reshape(builder, x, [1, "tokens", keyHeads, keyDim]);
    const [scaled] = builder.node("SimplifiedLayerNormalization", [heads, length], [{ dims: heads.dims }], {
      attributes,
    });
    return reshape(builder, scaled, [1, "tokens", keys]);
  };
  return [unit(q), unit(k), v];
}

/** -exp(A)·softplus(a + bias), (1, tokens, valueHeads) */
function decayOf({ builder }: PassWriter, { decay, valueHeads }: DeltaNet, a: Value): Value {
  const spec = { dims: [1, "tokens", valueHeads] };
  const [speed] = builder.node("Exp", [builder.weight(decay.log, [valueHeads])], [{ dims: [valueHeads] }]);
  const [shifted] = builder.node("Add", [a, builder.weight(decay.bias, [valueHeads])], [spec]);
  const [softplus] = builder.node("Softplus", [shifted], [spec]);
  const [product] = builder.node("Mul", [softplus, speed], [spec]);
  return builder.node("Neg", [product], [spec])[0];
}

/** o for each token, (1, tokens, valueHeads·valueDim); the memory goes on. */
function remember(
  { builder }: PassWriter,
  net: DeltaNet,
  [q, k, v]: readonly [Value, Value, Value],
  decay: Value,
  beta: Value,
): Value {
  const state = memoryDims(net);
  const past = builder.given(pastStateName(net.layer, 1), "float32", state);
  const [read, next] = builder.node(
    "LinearAttention",
    [q, k, v, past, decay, beta],
    [{ dims: v.dims }, { dims: state, name: newStateName(net.layer, 1) }],
    {
      domain: CONTRIB,
      attributes: {
        q_num_heads: net.keyHeads,
        kv_num_heads: net.valueHeads,
        update_rule: { text: "gated_delta" },
        scale: { float: 1 / Math.sqrt(net.keyDim) },
      },
    },
  );
  builder.expose(next);
  return read;
}
