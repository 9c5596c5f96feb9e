/** Whether what is added to a base model fits it. */

import { TacetError } from "../base/errors.ts";
import { type BaseChanges, isUnchanged, NO_CHANGES } from "../weights/base-changes.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { type FittedAdapter, fitAdapter } from "./adapter/fit-adapter.ts";
import type { DeltaUse } from "./load-options.ts";

/** A use whose adapters are found to be this base model's. */
export interface FittedUse {
  readonly use: DeltaUse;
  readonly adapter: FittedAdapter | undefined;
  readonly draftAdapter: FittedAdapter | undefined;
  /** What the base model is written with. */
  readonly changes: BaseChanges;
}

/**
 * @throws TypeError for an adapter beside a DeltaSource; TacetError as fitAdapter, unsupported_adapter for a draft adapter
 *   that changes more than linear modules
 */
export async function fitUse(use: DeltaUse, checkpoint: Checkpoint): Promise<FittedUse> {
  const { deltas } = use;
  if (use.adapter && deltas)
    throw new TypeError("an adapter inside the graph and a DeltaSource can't be used together");
  const adapter = use.adapter && (await fitAdapter(use.adapter, checkpoint));
  const draftAdapter = use.draftAdapter && (await fitAdapter(use.draftAdapter, checkpoint));
  // They would be the other adapter's too: it runs on the same graph.
  if (draftAdapter && !isUnchanged(draftAdapter.changes))
    throw new TacetError("unsupported_adapter", "the draft adapter changes more than linear modules", {
      hint: "draft with an adapter that has LoRA matrices alone, or without one",
    });
  return { use, adapter, draftAdapter, changes: (adapter ?? deltas)?.changes ?? NO_CHANGES };
}
