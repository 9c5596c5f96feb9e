/** Whether a device has the operators of a model. */
import type { Device } from "../base/device.ts";
import { TacetError } from "../base/errors.ts";
import type { TensorRuntime } from "../base/platform.ts";
import type { SingleOperator } from "./graph/graph-values.ts";
import type { Segment } from "./graph/segment-builder.ts";

/** Attributes that an operator of ONNX Runtime 1.30 takes on a device and does not look at: results would be wrong. */
const IGNORED: readonly { readonly device: Device; readonly opType: string; readonly attribute: string }[] = [
  { device: "webgpu", opType: "GroupQueryAttention", attribute: "softcap" },
];

/**
 * Asks the runtime for each operator by itself. It would leave what the device has not to the processor and say nothing.
 *
 * @throws TacetError unsupported_model naming the operators; bad_argument if there is no such device
 */
export async function refuseMissingOperators(
  segments: readonly Segment[],
  runtime: TensorRuntime,
): Promise<void> {
  const { device = "cpu" } = runtime;
  if (device === "cpu" || !runtime.runsOnDevice) return;
  const operators = new Map<string, SingleOperator>();
  for (const { graph, onHost } of segments) {
    if (!onHost) for (const operator of graph.operators()) operators.set(operator.form, operator);
  }
  const missing = new Set<string>();
  for (const { opType, attributes, model } of operators.values()) {
    const ignored = IGNORED.find(
      (each) => each.device === device && each.opType === opType && attributes.includes(each.attribute),
    );
    if (ignored) missing.add(`${opType} with ${ignored.attribute}`);
    else if (!missing.has(opType) && !(await runtime.runsOnDevice(model))) missing.add(opType);
  }
  if (missing.size === 0) return;
  const names = [...missing].sort().join(", ");
  throw new TacetError("unsupported_model", `${device} can't run this model: it has no ${names}`, {
    hint: "run it on the processor: --device cpu (option device)",
  });
}
