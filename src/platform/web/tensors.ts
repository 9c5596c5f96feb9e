/** ONNX Runtime in a browser or worker: its builds for WebAssembly and for WebGPU. */
import type * as Ort from "onnxruntime-web/wasm";
import type { Device } from "../../base/device.ts";
import { TacetError } from "../../base/errors.ts";
import type { ModelInParts, OnnxModel, SessionOptions, TensorRuntime } from "../../base/platform.ts";
import { OrtSession, outputLocations, refusedModel, runsAlone } from "../ort-session.ts";
import { StagedSession } from "./products/staged-session.ts";
import { ProductTeam } from "./products/team.ts";

/** What TypeScript's own types do not know of yet. */
interface Gpu {
  requestAdapter(): Promise<GpuAdapter | null>;
}
export interface GpuAdapter {
  readonly info?: {
    readonly vendor: string;
    readonly architecture: string;
    readonly description: string;
    /** It computes on the processor. */
    readonly isFallbackAdapter?: boolean;
  };
}

/** The GPU that pages here may use, undefined where there is none. */
export async function webGpuAdapter(): Promise<GpuAdapter | undefined> {
  const gpu = (globalThis.navigator as (Navigator & { readonly gpu?: Gpu }) | undefined)?.gpu;
  return (await gpu?.requestAdapter().catch(() => null)) ?? undefined;
}

/**
 * @param ort the library, loaded and configured by the page: where its WebAssembly file lies is the page's matter.
 *   For WebGPU its build `onnxruntime-web/webgpu`
 * @param device "cpu" or "webgpu"
 * @param hostOrt its build `onnxruntime-web/wasm`, for what stays with the processor: that for WebGPU has few operators
 *   there
 */
export function webTensorRuntime(
  ort: typeof Ort,
  device: Device = "cpu",
  hostOrt: typeof Ort = ort,
): TensorRuntime {
  let checked: Promise<void> | undefined;
  /** Bytes of the files that sessions have taken in. */
  let held = 0;
  const team = new ProductTeam();
  const inTurn = device === "webgpu" ? oneAtATime() : atOnce;
  const check = (): Promise<void> => (checked ??= checkDeviceHere(device));
  const optionsOf = (onHost: boolean): Ort.InferenceSession.SessionOptions => ({
    executionProviders: [device === "webgpu" && !onHost ? "webgpu" : "wasm"],
    graphOptimizationLevel: "all",
    // Fatal only: an error is thrown too, and shall not also be printed.
    logSeverityLevel: 4,
  });
  return {
    device,
    keepsOutputs: device === "webgpu",
    ...(device === "cpu"
      ? {
          availableMemory: async () => Math.max(0, MOST_BYTES - held),
          roundedMemory: async () => deviceMemory(),
        }
      : {
          async runsOnDevice({ bytes }: OnnxModel) {
            await check();
            return await inTurn(() => runsAlone(ort, bytes, optionsOf(false)));
          },
        }),
    async createSession(model, { threads, onHost = false, keep }: SessionOptions = {}) {
      await check();
      const onProcessor = onHost || device === "cpu";
      const own = onHost ? hostOrt : ort;
      // Before the first session; then the library has its threads.
      if (threads !== undefined && globalThis.crossOriginIsolated) own.env.wasm.numThreads = threads;
      const open = async ({ bytes, tensors }: ModelInParts): Promise<OrtSession> => {
        // Bytes of one session at a time are here twice.
        const externalData = await Promise.all(
          tensors.map(async ({ location, read }) => ({ path: location, data: await read() })),
        );
        const session = await inTurn(() =>
          own.InferenceSession.create(bytes, {
            ...optionsOf(onHost),
            ...(onProcessor ? {} : outputLocations(keep)),
            ...(externalData.length === 0 ? {} : { externalData }),
          }),
        );
        const bytesHeld = tensors.reduce((sum, { length }) => sum + length, 0);
        held += bytesHeld;
        const free = (work: () => void) => void inTurn(async () => work());
        return new OrtSession(own, session, () => (held -= bytesHeld), free);
      };
      try {
        const stages = onProcessor ? model.inStages?.() : undefined;
        const opened = stages
          ? await StagedSession.open(stages, open, team, threads ?? defaultThreads(own))
          : await open(model.inParts?.() ?? { bytes: model.bytes, tensors: [] });
        return {
          run: (inputs) => inTurn(() => opened.run(inputs)),
          dispose: () => inTurn(() => opened.dispose()),
        };
      } catch (error) {
        if (error instanceof TacetError) throw error;
        throw NO_MEMORY.test(String(error)) ? noMemory(device) : refusedModel(error);
      }
    },
  };
}

/** What the library takes where nobody has said a number. */
function defaultThreads(ort: typeof Ort): number {
  const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
  return ort.env.wasm.numThreads || Math.min(4, Math.ceil(cores / 2));
}

type InTurn = <T>(work: () => Promise<T>) => Promise<T>;
const atOnce: InTurn = (work) => work();

/** The build for WebGPU waits for the GPU in the middle of a call, and takes no other call meanwhile. */
function oneAtATime(): InTurn {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}

/** WebAssembly with addresses of 32 bits. */
const MOST_BYTES = 2 ** 32;
/**
 * Bytes of the machine's memory, as browsers say it: a power of two of GiB, and no more than a bound of theirs however much
 * there is. Those are 8 and 32: then nobody knows.
 */
function deviceMemory(): number | undefined {
  const { deviceMemory: gibibytes } = (globalThis.navigator ?? {}) as { readonly deviceMemory?: number };
  return gibibytes === undefined || gibibytes === 8 || gibibytes >= 32 ? undefined : gibibytes * 2 ** 30;
}

/** What the library, its memory or the browser say where there is no more. */
const NO_MEMORY =
  /bad_alloc|out of memory|\bOOM\b|allocation failed|Cannot enlarge memory|OutOfMemory|Memory\.grow|could not allocate memory/i;

function noMemory(device: Device): TacetError {
  const what = device === "webgpu" ? "the GPU or this page" : "this page";
  return new TacetError("out_of_memory", `the model does not fit into the memory of ${what}`, {
    hint: "take smaller weights (int8, int4), a shorter context, or a smaller model",
  });
}

/** @throws TacetError bad_argument if pages have no such device, or this browser or machine has none */
async function checkDeviceHere(device: Device): Promise<void> {
  if (device === "cpu") return;
  if (device !== "webgpu") {
    throw new TacetError("bad_argument", `there is no device ${device} in a browser: it has cpu and webgpu`);
  }
  if (await webGpuAdapter()) return;
  throw new TacetError("bad_argument", "there is no device webgpu here: the browser offers no adapter", {
    hint: "it needs a GPU and a browser with WebGPU, and a page from https:// or this machine; or take cpu",
  });
}
