/** In which of the ways that are read here a checkpoint's quantized weights are stored. */

import type { FileTree } from "../../base/platform.ts";
import type { JsonRecord } from "../json-file.ts";
import type { TensorInfo } from "../safetensors.ts";
import { mxfp4Name, openMxfp4 } from "./mxfp4.ts";
import { openPacked, type DecodedTensors } from "./packed-checkpoint.ts";
import { packedFormat } from "./packed-format.ts";

export interface Packing {
  /** "GPTQ, 4 bits, groups of 128" */
  readonly storedAs: string;
  /** @throws TacetError bad_checkpoint naming file and tensor, unsupported_model */
  open(tree: FileTree, tensors: ReadonlyMap<string, TensorInfo>): Promise<DecodedTensors>;
}

/**
 * What config.json says.
 *
 * @returns undefined: none of them
 * @throws TacetError unsupported_model naming the field, for layouts that are not read
 */
export function packingOf(config: JsonRecord): Packing | undefined {
  const format = packedFormat(config);
  if (format)
    return { storedAs: format.storedAs, open: (tree, tensors) => openPacked(tree, tensors, format) };
  const storedAs = mxfp4Name(config);
  return storedAs === undefined ? undefined : { storedAs, open: openMxfp4 };
}
