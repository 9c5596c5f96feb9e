/** What is turned, by which angles: the rotary settings of a whole model, or of each kind of its layers. */

import type { Rotary } from "../graph/blocks/rotary-tables.ts";
import { bad, demand, positive, present, type RawConfig, show } from "./config-fields.ts";
import { parseRope, type RopeFamily } from "./rope-config.ts";
import type { Sizes } from "./sizes.ts";

export interface RotaryDefaults extends RopeFamily {
  /**
   * The share of each head that is turned, if the file does not say. Not given: all of it, and a file that says
   * otherwise is refused.
   */
  readonly share?: number;
  /** Default: "halves". */
  readonly pairs?: Rotary["pairs"];
}

type RotatedSizes = Pick<Sizes, "headDim" | "trainedContext">;

const SPELLINGS = ["rope_parameters", "rope_scaling"] as const;
const SHARE = "partial_rotary_factor";

/**
 * @throws TacetError bad_checkpoint for heads that cannot be split into pairs; what parseRope throws
 */
export function readRotary(
  raw: RawConfig,
  { headDim, trainedContext }: RotatedSizes,
  { share, pairs = "halves", ...family }: RotaryDefaults = {},
): Rotary {
  const records = SPELLINGS.map((field) => raw[field]).filter(isRecord);
  const shares = [...records.map((record) => record[SHARE]), raw[SHARE]].filter(present);
  if (share === undefined) {
    demand(raw, SHARE, [1]);
    for (const field of SPELLINGS) if (isRecord(raw[field])) demand(raw[field], SHARE, [1], field);
  } else if (shares.some((value) => value !== shares[0])) {
    throw bad(SHARE, `is said twice: ${shares.map(show).join(" and ")}`);
  }
  const used = share === undefined ? 1 : positive({ [SHARE]: shares[0] }, SHARE, share);
  if (used > 1) throw bad(SHARE, `must be at most 1, is ${show(used)}`);
  const dims = Math.floor(headDim * used);
  if (headDim % 2 !== 0) throw bad("head_dim", `${headDim} is odd`);
  if (dims % 2 !== 0 || dims === 0)
    throw bad(SHARE, `turns ${dims} of ${headDim} entries, which are no pairs`);
  const rope = parseRope(raw, { trainedContext, ...family });
  const { scaling } = rope;
  if (scaling.kind === "longrope" && scaling.short.length !== dims / 2) {
    throw bad("short_factor", `has ${scaling.short.length} numbers for ${dims / 2} pairs`);
  }
  return { rope, dims, pairs };
}

/**
 * The same for one kind of layers, where `rope_parameters` has a record for each; `older` is what files from before
 * that say of this kind.
 */
export function readRotaryOf(
  raw: RawConfig,
  kind: string,
  sizes: RotatedSizes,
  older: RawConfig,
  defaults: RotaryDefaults = {},
): Rotary {
  const all = raw.rope_parameters;
  const own = isRecord(all) ? all[kind] : undefined;
  const { rope_parameters, rope_scaling, rope_theta, ...rest } = raw;
  return readRotary({ ...rest, ...(isRecord(own) ? { rope_parameters: own } : older) }, sizes, defaults);
}

function isRecord(value: unknown): value is RawConfig {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
