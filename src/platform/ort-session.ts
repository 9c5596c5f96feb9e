/** A session of ONNX Runtime, in Node or in a browser: both builds have the same interface. */
import type { InferenceSession, OnnxValue, Tensor as OrtTensor } from "onnxruntime-common";
import { TacetError } from "../base/errors.ts";
import type { Tensor, TensorSession } from "../base/platform.ts";

/** The library's class of tensors, as one of the builds has loaded it. */
export interface OrtTensors {
  readonly Tensor: new (type: Tensor["type"], data: Tensor["data"], dims: readonly number[]) => OrtTensor;
}

/** A session of one of the builds, or of what lies below it. */
export interface RunnableSession {
  run(
    feeds: Readonly<Record<string, OrtTensor>>,
  ): Readonly<Record<string, OnnxValue>> | Promise<Readonly<Record<string, OnnxValue>>>;
  release(): Promise<void>;
}

/** Views of the same memory, kept for tensors that are used again: cached keys and values. */
const VIEWS = new WeakMap<Tensor, OrtTensor>();

export class OrtSession implements TensorSession {
  readonly #ort: OrtTensors;
  readonly #session: RunnableSession;
  readonly #onRelease: () => void;
  readonly #inTurn: (work: () => void) => void;
  /** Outputs that stay on the device until they are freed. */
  readonly #kept = new Set<OrtTensor>();
  #released: Promise<void> | undefined;

  /** @param inTurn calls back when the library may be called */
  constructor(
    ort: OrtTensors,
    session: RunnableSession,
    onRelease: () => void = () => {},
    inTurn: (work: () => void) => void = (work) => work(),
  ) {
    this.#inTurn = inTurn;
    this.#ort = ort;
    this.#session = session;
    this.#onRelease = onRelease;
  }

  /**
   * Outputs are new arrays. Giving ONNX Runtime memory for them would save nothing: the Node binding of this version
   * copies every output into a separate array all the same.
   */
  async run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    const feeds: Record<string, OrtTensor> = {};
    for (const name in inputs) feeds[name] = this.#view(inputs[name]);
    try {
      const results = (await this.#session.run(feeds)) as unknown as Record<string, Tensor>;
      for (const name in results) {
        const tensor = results[name] as unknown as OrtTensor;
        if (tensor.location === "gpu-buffer") results[name] = this.#onDevice(tensor);
      }
      return results;
    } catch (error) {
      // Its messages name nodes, shapes and types; they hold no tensor data.
      throw new TacetError("internal", `ONNX Runtime could not run a segment: ${firstLine(error)}`);
    }
  }

  dispose(): Promise<void> {
    // The library can't free them when the session is gone.
    for (const tensor of this.#kept) tensor.dispose();
    this.#kept.clear();
    return (this.#released ??= this.#session.release().then(this.#onRelease));
  }

  /** What is known of a tensor on the device without its entries. */
  #onDevice(tensor: OrtTensor): Tensor {
    this.#kept.add(tensor);
    const view: Tensor = {
      type: tensor.type as Tensor["type"],
      dims: tensor.dims,
      get data(): never {
        throw new TypeError("the tensor lies on the device");
      },
      free: () => {
        VIEWS.delete(view);
        this.#inTurn(() => {
          if (this.#kept.delete(tensor)) tensor.dispose();
        });
      },
    };
    VIEWS.set(view, tensor);
    return view;
  }

  #view(tensor: Tensor): OrtTensor {
    // What a session gave is a tensor of ONNX Runtime's own already.
    if (tensor instanceof this.#ort.Tensor) return tensor;
    let view = VIEWS.get(tensor);
    if (!view) {
      view = new this.#ort.Tensor(tensor.type, tensor.data, tensor.dims);
      VIEWS.set(tensor, view);
    }
    return view;
  }
}

/** Where outputs go, for a session's options: those that are kept stay on the device. */
export function outputLocations(
  keep: readonly string[] = [],
): Pick<InferenceSession.SessionOptions, "preferredOutputLocation"> {
  if (keep.length === 0) return {};
  return { preferredOutputLocation: Object.fromEntries(keep.map((name) => [name, "gpu-buffer" as const])) };
}

/** What both builds say where a node would be left to the processor, and that is forbidden; or nobody has it. */
const LEFT_TO_PROCESSOR = /assigned to the default CPU EP|Could not find an implementation/;

/**
 * Whether the first execution provider of the options runs all of a model.
 * @throws TacetError bad_checkpoint for another failure
 */
export async function runsAlone(
  ort: { readonly InferenceSession: { create: typeof InferenceSession.create } },
  bytes: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<boolean> {
  const session = { ...(options.extra?.session as object | undefined), disable_cpu_ep_fallback: "1" };
  try {
    const made = await ort.InferenceSession.create(bytes, { ...options, extra: { session } });
    await made.release();
    return true;
  } catch (error) {
    if (LEFT_TO_PROCESSOR.test(String((error as Error | undefined)?.message))) return false;
    throw refusedModel(error);
  }
}

/** What ONNX Runtime says of a model that it does not load. */
export function refusedModel(error: unknown): TacetError {
  return new TacetError("bad_checkpoint", `ONNX Runtime refused the model: ${firstLine(error)}`);
}

function firstLine(error: unknown): string {
  return String((error as Error | undefined)?.message ?? error ?? "unknown error")
    .split("\n")[0]
    .slice(0, 300);
}
