/** The rotary settings of config.json, in the spellings that transformers has used. */

import type { Rope, RopeScaling } from "../graph/rope.ts";
import { bad, positive, present, type RawConfig, show, unsupported } from "./config-fields.ts";

/**
 * transformers 5 writes all into `rope_parameters`; before, it was `rope_theta` and `rope_scaling`, whose kind is
 * `rope_type` or, older still, `type`. The share of a head that is turned is read elsewhere (rotary-config.ts).
 *
 * @throws TacetError unsupported_model for a kind that is not implemented; bad_checkpoint for a field of the wrong
 *   kind, and for spellings that disagree
 */
export function parseRope(raw: RawConfig): Rope {
  const spellings = ["rope_parameters", "rope_scaling"].filter((field) => present(raw[field]));
  if (spellings.length === 0) return { theta: positive(raw, "rope_theta", 10000), scaling: { kind: "none" } };
  const [rope, other] = spellings.map((field) => parseRecord(raw, field));
  if (other && JSON.stringify(other) !== JSON.stringify(rope)) {
    throw bad("rope_parameters", "and rope_scaling say different things");
  }
  return rope;
}

function parseRecord(raw: RawConfig, field: string): Rope {
  const value = raw[field];
  if (typeof value !== "object" || Array.isArray(value)) throw bad(field, "is not an object");
  const record = value as RawConfig;
  // Models with several kinds of layers have one record for each kind.
  for (const [kind, inner] of Object.entries(record)) {
    if (typeof inner === "object" && inner !== null) throw unsupported(`${field}.${kind}`, inner);
  }
  if (present(record.rope_theta) && present(raw.rope_theta) && record.rope_theta !== raw.rope_theta) {
    throw bad(`${field}.rope_theta`, `is ${show(record.rope_theta)}, rope_theta ${show(raw.rope_theta)}`);
  }
  const theta = present(record.rope_theta)
    ? positive(record, "rope_theta", undefined, field)
    : positive(raw, "rope_theta", 10000);
  return { theta, scaling: parseScaling(record, field) };
}

function parseScaling(record: RawConfig, field: string): RopeScaling {
  const key = present(record.rope_type) ? "rope_type" : "type";
  const kind = record[key] ?? "default";
  if (present(record.type) && record.type !== kind) {
    throw bad(`${field}.type`, `is ${show(record.type)}, ${field}.rope_type ${show(kind)}`);
  }
  if (kind === "default") return { kind: "none" };
  const number = (name: string): number => positive(record, name, undefined, field);
  if (kind === "linear") return { kind, factor: number("factor") };
  if (kind !== "llama3") throw unsupported(`${field}.${key}`, kind);
  const scaling = {
    kind,
    factor: number("factor"),
    lowFrequencyFactor: number("low_freq_factor"),
    highFrequencyFactor: number("high_freq_factor"),
    originalContext: number("original_max_position_embeddings"),
  } as const;
  if (scaling.highFrequencyFactor <= scaling.lowFrequencyFactor) {
    throw bad(`${field}.high_freq_factor`, `${scaling.highFrequencyFactor} is not above low_freq_factor`);
  }
  return scaling;
}
