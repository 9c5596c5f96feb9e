/** The two files of an adapter, and what is said of them that do not fit. */

import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { readTensorF32, type TensorInfo } from "./safetensors.ts";

export const CONFIG = "adapter_config.json";
export const WEIGHTS = "adapter_model.safetensors";
export const SAVE_AGAIN = "save the trained model again with PEFT's save_pretrained";
export const EDITED = `${CONFIG} and ${WEIGHTS} do not belong together, or were edited`;

export const adapterRefusal = (what: string, hint = EDITED): TacetError =>
  new TacetError("bad_adapter", `${WEIGHTS}: ${what}`, { hint });

export async function readFinite(tree: FileTree, info: TensorInfo, quoted: string): Promise<Float32Array> {
  const values = await readTensorF32(tree, info, "unsupported_adapter");
  if (values.every(Number.isFinite)) return values;
  throw adapterRefusal(
    `${quoted} holds values that are not finite`,
    "its training diverged, or the file is damaged: get it again",
  );
}
