/** Which devices this build of ONNX Runtime and this machine have. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type * as Ort from "onnxruntime-node";
import type { Device } from "../../base/device.ts";
import { TacetError } from "../../base/errors.ts";

type Library = Pick<typeof Ort, "listSupportedBackends" | "InferenceSession">;

/** What a device needs that a package can't bring. */
const NEEDS: Readonly<Record<Device, string>> = {
  cpu: "",
  webgpu:
    "it needs a GPU and its driver: on Linux one for Vulkan (vulkaninfo --summary lists them), on Windows Direct3D 12, on macOS Metal",
  cuda: "on Linux x64 it needs an NVIDIA driver, CUDA 12, cuDNN 9, and the provider's library, which is no part of the npm package: node node_modules/onnxruntime-node/script/install.js fetches it from nuget.org",
  coreml: "it is part of the builds for macOS",
  dml: "it is part of the builds for Windows",
};

/** y = -x for one float32: to see whether a device can run anything. */
const SMALLEST_MODEL = "CAo6MgoLCgF4EgF5IgNOZWcSAWdaDwoBeBIKCggIARIECgIIAWIPCgF5EgoKCAgBEgQKAggBQgQKABAV";
/** A library that the build does not bring, beside the binding. */
const CUDA_LIBRARY = "libonnxruntime_providers_cuda.so";

/** @throws TacetError bad_argument if this build or this machine has no such device; it says which they have */
export async function checkDeviceHere(device: Device, ort: Library): Promise<void> {
  if (device === "cpu") return;
  const backends = ort.listSupportedBackends();
  const found = backends.find(({ name }) => name === device);
  const why = found
    ? await failureOf(device, found.bundled, ort)
    : "this build of ONNX Runtime does not have it";
  if (why === undefined) return;
  const built = backends.filter(({ bundled }) => bundled).map(({ name }) => name);
  const usable = ["cpu"];
  for (const name of built)
    if (name !== device && name !== "cpu" && !(await failureOf(name, true, ort))) usable.push(name);
  throw new TacetError(
    "bad_argument",
    `there is no device ${device} here: ${why}; this build has ${built.join(", ")}, and this machine can use ` +
      usable.join(", "),
    { hint: NEEDS[device] },
  );
}

/** What ONNX Runtime says of a device where it cannot run the smallest model. */
async function failureOf(device: string, isBundled: boolean, ort: Library): Promise<string | undefined> {
  const folder = libraryFolder();
  if (device === "cuda" && !isBundled && folder !== undefined && !existsSync(join(folder, CUDA_LIBRARY))) {
    return `${CUDA_LIBRARY} is not in ${folder}`;
  }
  try {
    const bytes = Buffer.from(SMALLEST_MODEL, "base64");
    const session = await ort.InferenceSession.create(bytes, {
      executionProviders: [device],
      logSeverityLevel: 4,
      extra: { session: { disable_cpu_ep_fallback: "1" } },
    });
    await session.release();
    return undefined;
  } catch (error) {
    const said = String((error as Error | undefined)?.message ?? error);
    // The part that says something stands behind the name of a function.
    return (said.match(/Failed to get a WebGPU[^\n]*/)?.[0] ?? said.split("\n")[0]).trim().slice(0, 200);
  }
}

/** Where the binding is, and looks for libraries. */
function libraryFolder(): string | undefined {
  try {
    const main = createRequire(import.meta.url).resolve("onnxruntime-node");
    return join(dirname(main), "../bin/napi-v6", process.platform, process.arch);
  } catch {
    return undefined;
  }
}
