/** What llama.cpp's files say of one family, and how that becomes what transformers has. */
import type { JsonRecord } from "../../json-file.ts";
import type { Metadata } from "../metadata.ts";
import type { TensorNames } from "../tensor-names.ts";

export interface Family {
  /** `general.architecture`. */
  readonly named: readonly string[];
  /** What tells it from others of the same name. */
  readonly isIt?: (m: Metadata) => boolean;
  /** `architectures` and `model_type` of config.json. */
  readonly architecture: string;
  readonly modelType: string;
  readonly names: TensorNames;
  /**
   * Rows of q and k: llama.cpp turns neighbouring entries where transformers turns entry i and i + d/2, and has put their
   * rows beside each other for that. Default: as in transformers.
   */
  readonly headRows?: "neighbours";
  /** llama.cpp has added 1 to the weights of norms. */
  readonly normsPlusOne?: true;
  /** Field of config.json for a norm's epsilon. Default: "rms_norm_eps". */
  readonly epsilon?: string;
  /** Only a part of each head may be turned. */
  readonly partialRotary?: true;
  /** What else is in config.json, or is there otherwise. */
  readonly config?: (m: Metadata) => JsonRecord;
  /** `rope_scaling` and what belongs to it, where that is made otherwise. @param freqs of the tensor "rope_freqs" */
  readonly rope?: (m: Metadata, freqs: readonly number[]) => JsonRecord;
  /** Lists of sizes may differ from layer to layer: `config` says how. */
  readonly variesByLayer?: true;
}
