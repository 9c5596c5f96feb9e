/** What llama.cpp's files say of one family, and how that becomes what transformers has. */
import type { JsonRecord } from "../../json-file.ts";
import type { Metadata } from "../metadata.ts";
import type { Order } from "../row-orders.ts";
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
  /** Where rows of a tensor stand there. undefined, also of a tensor: where they stand in transformers. */
  readonly rowOrder?: (m: Metadata, stem: string) => Order | undefined;
  /** The same of the entries of each row. */
  readonly columnOrder?: (m: Metadata, stem: string) => Order | undefined;
  /** Matrices that transformers has as (in, out), which are (out, in) there as all are. */
  readonly storedInOut?: ReadonlySet<string>;
  /** What undoes the change that llama.cpp's converter has made to a tensor's entries; undefined: it made none. */
  readonly undo?: (stem: string, last: string) => ((entry: number) => number) | undefined;
  /** Field of config.json for a norm's epsilon. Default: "rms_norm_eps". */
  readonly epsilon?: string;
  /** Only a part of each head may be turned. */
  readonly partialRotary?: true;
  /** What else is in config.json, or is there otherwise. */
  readonly config?: (m: Metadata) => JsonRecord;
  /** `rope_scaling` and what belongs to it, where that is made otherwise. @param freqs of the tensor "rope_freqs" */
  readonly rope?: (m: Metadata, freqs: readonly number[]) => JsonRecord;
  /** Layers behind the model's own that the file has and transformers' class does not read. */
  readonly extraLayers?: (m: Metadata) => number;
  /** Lists of sizes may differ from layer to layer: `config` says how. */
  readonly variesByLayer?: true;
}
