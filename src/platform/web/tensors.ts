/** ONNX Runtime in a browser or worker: its WebAssembly build. */
import type * as Ort from "onnxruntime-web/wasm";
import { TacetError } from "../../base/errors.ts";
import type { FileTree, OnnxModel, TensorRuntime } from "../../base/platform.ts";
import { OrtSession, refusedModel } from "../ort-session.ts";

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
        return new OrtSession(ort, session);
      } catch (error) {
        throw refusedModel(error);
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
