/** What stands between the two places of a gated MLP. */

import { CONTRIB, type Value } from "../onnx-graph.ts";
import type { SegmentBuilder } from "../segment-builder.ts";

/** silu(gate)·up: [gate | up] (1, tokens, 2·width) → (1, tokens, width) */
export function gatedSilu(builder: SegmentBuilder, gateUp: Value, width: number): Value {
  const spec = { dims: [1, "tokens", width] };
  const [gate, up] = builder.node("Split", [gateUp], [spec, spec], {
    attributes: { axis: -1, num_outputs: 2 },
  });
  // x·sigmoid(alpha·x): with alpha 1 it is silu.
  const [activated] = builder.node("QuickGelu", [gate], [spec], {
    domain: CONTRIB,
    attributes: { alpha: { float: 1 } },
  });
  return builder.node("Mul", [activated, up], [spec])[0];
}
