/** Where the operators of a base model run. */
import { TacetError } from "./errors.ts";

/** The processor, and what ONNX Runtime has execution providers for. */
export type Device = "cpu" | "webgpu" | "cuda" | "coreml" | "dml";
export const DEVICES: readonly Device[] = ["cpu", "webgpu", "cuda", "coreml", "dml"];

/** @throws TacetError bad_argument for a name that is none */
export function checkDevice(device: string): Device {
  if ((DEVICES as readonly string[]).includes(device)) return device as Device;
  throw new TacetError("bad_argument", `${JSON.stringify(device.slice(0, 60))} is not a device`, {
    hint: `devices are ${DEVICES.slice(0, -1).join(", ")} and ${DEVICES.at(-1)}`,
  });
}
