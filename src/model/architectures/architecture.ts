/** What a family of decoders has to say about itself. */

import type { Decoder } from "../graph/decoder.ts";
import type { RawConfig } from "./config-fields.ts";

export interface Architecture {
  /** As config.json's `architectures` has it. */
  readonly name: string;
  /** As config.json's `model_type` has it: what counts in files without `architectures`. */
  readonly modelType: string;
  /** Released models of the family, for documents. */
  readonly released: string;
  /**
   * What config.json says.
   *
   * @throws TacetError bad_checkpoint for a field of the wrong kind, unsupported_model for an option that would
   *   change the result and is not implemented
   */
  describe(raw: RawConfig): Decoder;
}
