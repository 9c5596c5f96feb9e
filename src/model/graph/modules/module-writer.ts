/** What a kind of module has to say, so that write-decoder.ts can put it between norms and residuals. */

import type { LinearPlace } from "../linear-place.ts";
import type { Value } from "../onnx-graph.ts";
import type { LayerCache } from "../pass-values.ts";
import type { PassWriter } from "./pass-writer.ts";

/** A linear layer with its input. */
export interface PlaceInput {
  readonly place: LinearPlace;
  readonly x: Value;
}

export interface ModuleWriter<M> {
  /** In forward order: what an adapter can change. */
  places(module: M): readonly LinearPlace[];
  /**
   * The first of the places, whose product of the norm's output `write` is given. undefined: `write` is given that
   * output itself, and no pair ends here (pair.ts).
   */
  entry(module: M): LinearPlace | undefined;
  /** What it keeps of the tokens it has read. */
  cache?(module: M): { readonly layer: number; readonly cache: LayerCache } | undefined;
  /** Ends with its last place and the input of that, or with a value if something else comes last. */
  write(pass: PassWriter, module: M, entered: Value): PlaceInput | Value;
}
