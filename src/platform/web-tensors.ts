/** ONNX Runtime in a browser or worker: its WebAssembly build. */
import type * as Ort from "onnxruntime-web/wasm";
import { TacetError } from "../base/errors.ts";
import type { FileTree, OnnxModel, Tensor, TensorRuntime, TensorSession } from "../base/platform.ts";

/** A tree that can give whole files without a copy: ONNX Runtime reads initializers out of them. */
type WholeFiles = FileTree & { bytesOf?(path: string): Uint8Array | undefined };

/** @param ort the library, loaded and configured by the page: where its WebAssembly file lies is the page's matter */
export function webTensorRuntime(ort: typeof Ort): TensorRuntime {
  return {
    async createSession(model, options = {}) {
      if (options.threads !== undefined && crossOriginIsolated) ort.env.wasm.numThreads = options.threads;
      const externalData = await Promise.all(
        model.externalFiles.map(async (file) => ({ path: file.location, data: await wholeFile(file) })),
      );
      try {
        const session = await ort.InferenceSession.create(model.bytes, {
          executionProviders: ["wasm"],
          graphOptimizationLevel: "all",
          // Fatal only: an error is thrown too, and shall not also be printed.
          logSeverityLevel: 4,
          ...(externalData.length === 0 ? {} : { externalData }),
        });
        return new WebTensorSession(ort, session);
      } catch (error) {
        throw new TacetError("bad_checkpoint", `ONNX Runtime refused the model: ${firstLine(error)}`);
      }
    },
  };
}

async function wholeFile({ tree, path }: OnnxModel["externalFiles"][number]): Promise<Uint8Array> {
  const whole = (tree as WholeFiles).bytesOf?.(path);
  if (whole) return whole;
  const size = await tree.size(path);
  if (size === undefined) throw new TacetError("io_failed", `${path} is missing in ${tree.label}`);
  return await tree.read(path, 0, size);
}

class WebTensorSession implements TensorSession {
  readonly #ort: typeof Ort;
  readonly #session: Ort.InferenceSession;
  #released: Promise<void> | undefined;

  constructor(ort: typeof Ort, session: Ort.InferenceSession) {
    this.#ort = ort;
    this.#session = session;
  }

  async run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    const feeds: Record<string, Ort.Tensor> = {};
    for (const name in inputs) {
      const tensor = inputs[name];
      feeds[name] =
        tensor instanceof this.#ort.Tensor
          ? tensor
          : new this.#ort.Tensor(tensor.type, tensor.data as Float32Array, tensor.dims);
    }
    try {
      return (await this.#session.run(feeds)) as unknown as Record<string, Tensor>;
    } catch (error) {
      // Its messages name nodes, shapes and types; they hold no tensor data.
      throw new TacetError("internal", `ONNX Runtime could not run a segment: ${firstLine(error)}`);
    }
  }

  dispose(): Promise<void> {
    return (this.#released ??= this.#session.release());
  }
}

function firstLine(error: unknown): string {
  return String((error as Error | undefined)?.message ?? error ?? "unknown error")
    .split("\n")[0]
    .slice(0, 300);
}
