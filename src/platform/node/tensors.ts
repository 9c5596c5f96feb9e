/** ONNX Runtime in Node. */

import { dirname } from "node:path";
import type * as Ort from "onnxruntime-node";
import type { Device } from "../../base/device.ts";
import { TacetError } from "../../base/errors.ts";
import type { OnnxModel, SessionOptions, TensorRuntime } from "../../base/platform.ts";
import { OrtSession, outputLocations, refusedModel, runsAlone } from "../ort-session.ts";
import { nextTurn } from "./after-events.ts";
import { type Cores, coresHere } from "./cores.ts";
import { checkDeviceHere } from "./devices.ts";
import { availableMemory } from "./memory.ts";
import { createNativeSession, type NativeBinding } from "./native-session.ts";

/**
 * The library is loaded with the first session: commands that run no model start without it.
 *
 * @param device where sessions run; looked at with the first one
 */
export function nodeTensorRuntime(device: Device = "cpu"): TensorRuntime {
  let loading: Promise<typeof Ort> | undefined;
  let cores: Cores | undefined;
  const library = (): Promise<typeof Ort> => (loading ??= loadLibrary(device));
  const runtime: TensorRuntime = {
    device,
    keepsOutputs: device === "webgpu",
    afterEvents: nextTurn,
    async createSession(model, options = {}) {
      const ort = await library();
      const where = options.onHost ? "cpu" : device;
      const sessionOptions = ortOptions(model, where, {
        ...options,
        threads: options.threads ?? usualThreads(model, options, (cores ??= coresHere())),
      });
      try {
        const session =
          where === "cpu"
            ? await createNativeSession(await nativeBinding(), model.bytes, sessionOptions)
            : await ort.InferenceSession.create(model.bytes, sessionOptions);
        return new OrtSession(ort, session);
      } catch (error) {
        throw refusedModel(error);
      }
    },
  };
  // What another device has left it does not say.
  if (device === "cpu") return { ...runtime, availableMemory };
  return {
    ...runtime,
    async runsOnDevice(model) {
      const ort = await library();
      return await runsAlone(ort, model.bytes, ortOptions(model, device, {}));
    },
  };
}

/** Weights of a session whose run is so long that a second thread pays, however long that takes to wake. */
const LONG_BYTES = 1 << 23;

/**
 * A whole model and what is long: one thread for each core. The pieces of a model that is cut run for some tens of
 * microseconds each, as long as a thread may take to wake in a virtual machine: there ONNX Runtime's own number, which is
 * that of the cores too but in such machines, unless the process has less than the machine.
 */
function usualThreads(
  { weightBytes = 0 }: OnnxModel,
  { isWhole = false }: SessionOptions,
  { usable, ofMachine }: Cores,
): number | undefined {
  const isLimited = usable !== undefined && usable < (ofMachine ?? usable);
  return isWhole || isLimited || weightBytes >= LONG_BYTES ? usable : undefined;
}

async function loadLibrary(device: Device): Promise<typeof Ort> {
  // Its Linux builds report models and timings to Microsoft unless this is set before they load, and keep a
  // device id and a database under ~/.cache/Microsoft. Nothing may leave this machine but ciphertext.
  process.env.ORT_DISABLE_TELEMETRY = "1";
  const ort = await import("onnxruntime-node").catch((cause: unknown) => {
    throw cannotLoad(cause);
  });
  await checkDeviceHere(device, ort);
  return ort;
}

/** What the package's public class calls. */
async function nativeBinding(): Promise<NativeBinding> {
  return (await import("onnxruntime-node/dist/binding.js")) as NativeBinding;
}

/** The package is optional, and npm leaves it out where its install script fails: on a closed network it does. */
function cannotLoad(cause: unknown): TacetError {
  const code = (cause as { code?: unknown } | null)?.code;
  const what = code === "ERR_MODULE_NOT_FOUND" ? "is not installed" : `cannot be loaded (${String(code)})`;
  return new TacetError("io_failed", `onnxruntime-node ${what}: without it no model runs`, {
    hint: "npm install --ignore-scripts installs it: its script only fetches files for GPUs",
    cause,
  });
}

function ortOptions(
  model: OnnxModel,
  device: Device,
  { threads, isWhole = false, keep }: SessionOptions,
): Ort.InferenceSession.SessionOptions {
  // To wake threads for each operator takes an eighth of a small model's step: they wait awake inside a run, and sleep
  // between runs, since a model that is cut has many sessions, each with separate threads.
  const session: Record<string, unknown> = {
    intra_op: { allow_spinning: "1" },
    inter_op: { allow_spinning: "0" },
    force_spinning_stop: "1",
  };
  const folder = folderOf(model);
  if (folder !== undefined) session.model_external_initializers_file_folder_path = folder;
  return {
    executionProviders: [device],
    graphOptimizationLevel: "all",
    ...(device === "webgpu" ? outputLocations(keep) : {}),
    interOpNumThreads: 1,
    // Each session would keep the memory of its largest pass: 50 of them held 1.5 GB after a prompt of Qwen2.5-0.5B.
    enableCpuMemArena: isWhole,
    // One block for all that a pass computes, from the arena. Without an arena the processor's would come from the system
    // each time, since malloc keeps nothing above 32 MiB: to get and clear 33 MB took a third of a prompt of 128 at
    // ChatGLM2-6B's width. DirectML refuses sessions with it.
    enableMemPattern: device !== "dml" && (isWhole || device !== "cpu"),
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    // Fatal only: an error is thrown too, and shall not also be printed.
    logSeverityLevel: 4,
    extra: { session },
  };
}

/** The folder that all files of the model are in: ONNX Runtime opens them there. */
function folderOf({ externalFiles }: OnnxModel): string | undefined {
  let folder: string | undefined;
  for (const { tree, path } of externalFiles) {
    const native = tree.nativePath(path);
    if (native === undefined) {
      throw new TacetError("io_failed", `${path} is not a file on this machine`, {
        hint: "in Node, models are read from a folder on disk",
      });
    }
    folder ??= dirname(native);
    if (folder !== dirname(native)) {
      throw new TacetError("io_failed", "the model's weights lie in more than one folder", {
        hint: "put all safetensors files into one folder",
      });
    }
  }
  return folder;
}
