/** The rotary settings of config.json, in the spellings that transformers has used. */

import type { Rope, RopeScaling } from "../graph/rope.ts";
import { bad, demand, positive, present, type RawConfig, show, unsupported } from "./config-fields.ts";

/** What a family's class in transformers fills in, and what it reads itself. */
export interface RopeFamily {
  /** theta, where the file does not say. Default: 10000. */
  readonly theta?: number;
  /** max_position_embeddings, where the file does not say. */
  readonly trainedContext?: number;
  /** original_max_position_embeddings, where the file does not say: it counts before that of the record. */
  readonly originalContext?: number;
  /** Further fields of the record that the family reads itself. */
  readonly reads?: readonly string[];
  /** The kind that other names stand for in this family. */
  readonly kindOf?: Readonly<Record<string, string>>;
}

/** A record with the rotary settings. */
export interface RopeRecord {
  readonly fields: RawConfig;
  /** Its name in config.json. */
  readonly path: string;
}

/**
 * transformers 5 writes all into `rope_parameters`; before, it was `rope_theta` and `rope_scaling`, whose kind is
 * `rope_type` or, older still, `type`. The share of a head that is turned is read elsewhere (rotary-config.ts).
 *
 * @throws TacetError unsupported_model for a kind or a field that is not implemented; bad_checkpoint for a field of the
 *   wrong kind, and for spellings that disagree
 */
export function parseRope(raw: RawConfig, family: RopeFamily = {}): Rope {
  const record = ropeRecord(raw);
  if (!record)
    return { theta: positive(raw, "rope_theta", family.theta ?? 10000), scaling: { kind: "none" } };
  return parseRopeRecord(raw, record, family);
}

/** The record of a file that has one; both spellings say the same, or the file is refused. */
export function ropeRecord(raw: RawConfig): RopeRecord | undefined {
  const [record, other] = ["rope_parameters", "rope_scaling"]
    .filter((path) => present(raw[path]))
    .map((path): RopeRecord => {
      const value = raw[path];
      if (typeof value !== "object" || Array.isArray(value)) throw bad(path, "is not an object");
      return { fields: value as RawConfig, path };
    });
  if (other) {
    const [one, two] = [record, other].map(({ fields, path }) => settingsOf(raw, fields, path));
    if (one !== two) throw bad("rope_parameters", "and rope_scaling say different things");
  }
  return record;
}

/** One text for records that say the same. */
function settingsOf(raw: RawConfig, fields: RawConfig, path: string): string {
  const { type: _, ...rest } = fields;
  const said = Object.entries({
    ...rest,
    rope_type: kindNamed(fields, path),
    rope_theta: thetaOf(raw, fields),
  });
  return JSON.stringify(said.filter(([, value]) => present(value)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function thetaOf(raw: RawConfig, fields: RawConfig): unknown {
  return fields.rope_theta ?? raw.rope_theta;
}

function kindNamed(fields: RawConfig, path: string): unknown {
  const kind = fields.rope_type ?? fields.type ?? "default";
  if (present(fields.type) && fields.type !== kind) {
    throw bad(`${path}.type`, `is ${show(fields.type)}, ${path}.rope_type ${show(kind)}`);
  }
  return kind;
}

/** @throws as {@link parseRope} */
export function parseRopeRecord(raw: RawConfig, { fields, path }: RopeRecord, family: RopeFamily = {}): Rope {
  // Models with several kinds of layers have one record for each kind.
  for (const [kind, inner] of Object.entries(fields)) {
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) {
      throw unsupported(`${path}.${kind}`, inner);
    }
  }
  if (present(fields.rope_theta) && present(raw.rope_theta) && fields.rope_theta !== raw.rope_theta) {
    throw bad(`${path}.rope_theta`, `is ${show(fields.rope_theta)}, rope_theta ${show(raw.rope_theta)}`);
  }
  const theta = present(fields.rope_theta)
    ? positive(fields, "rope_theta", undefined, path)
    : positive(raw, "rope_theta", family.theta ?? 10000);
  return { theta, scaling: parseScaling(raw, { fields, path }, family) };
}

/** Fields that every kind may have. Of Qwen-VL's three position ids a text has one, so that its sections say nothing. */
const COMMON = [
  "rope_type",
  "type",
  "rope_theta",
  "partial_rotary_factor",
  "mrope_section",
  "mrope_interleaved",
];

/** For each kind its own fields, and how they are read. */
const KINDS: Readonly<
  Record<
    string,
    { readonly fields: readonly string[]; readonly read: (source: ScalingSource) => RopeScaling }
  >
> = {
  default: { fields: [], read: () => ({ kind: "none" }) },
  mrope: { fields: [], read: () => ({ kind: "none" }) },
  linear: { fields: ["factor"], read: ({ number }) => ({ kind: "linear", factor: number("factor") }) },
  dynamic: {
    fields: ["factor", "original_max_position_embeddings"],
    read({ number, trainedContext }) {
      number("factor");
      return { kind: "dynamic", trainedContext };
    },
  },
  llama3: {
    fields: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
    read: readLlama3,
  },
  yarn: {
    // `finetuned`, which the first such models have, is read by nobody.
    fields: [
      ...["factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow"],
      ...["mscale", "mscale_all_dim", "truncate", "finetuned"],
    ],
    read: readYarn,
  },
  longrope: {
    fields: ["factor", "original_max_position_embeddings", "attention_factor", "short_factor", "long_factor"],
    read: readLongRope,
  },
};

interface ScalingSource {
  readonly raw: RawConfig;
  readonly path: string;
  readonly fields: RawConfig;
  readonly number: (name: string, fallback?: number) => number;
  /** max_position_embeddings. */
  readonly trainedContext: number;
  /** The context before it was stretched: the file's own field, then the record's, then all there is. */
  readonly originalContext: number;
}

function parseScaling(raw: RawConfig, { fields, path }: RopeRecord, family: RopeFamily): RopeScaling {
  const named = kindNamed(fields, path);
  const kind = family.kindOf?.[String(named)] ?? String(named);
  const known = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (!known) throw unsupported(`${path}.${present(fields.rope_type) ? "rope_type" : "type"}`, named);
  const mayHave = [...COMMON, ...known.fields, ...(family.reads ?? [])];
  const stray = Object.keys(fields).find((name) => present(fields[name]) && !mayHave.includes(name));
  if (stray !== undefined) throw unsupported(`${path}.${stray}`, fields[stray]);
  const source = {
    raw,
    path,
    fields,
    number: (name: string, fallback?: number) => positive(fields, name, fallback, path),
    get trainedContext() {
      return positive(raw, "max_position_embeddings", family.trainedContext);
    },
    get originalContext() {
      const field = "original_max_position_embeddings";
      if (present(raw[field]) || family.originalContext !== undefined) {
        return positive(raw, field, family.originalContext);
      }
      return present(fields[field]) ? positive(fields, field, undefined, path) : this.trainedContext;
    },
  };
  return known.read(source);
}

function readLlama3({ path, number, originalContext }: ScalingSource): RopeScaling {
  const scaling = {
    kind: "llama3",
    factor: number("factor"),
    lowFrequencyFactor: number("low_freq_factor"),
    highFrequencyFactor: number("high_freq_factor"),
    originalContext,
  } as const;
  if (scaling.highFrequencyFactor <= scaling.lowFrequencyFactor) {
    throw bad(`${path}.high_freq_factor`, `${scaling.highFrequencyFactor} is not above low_freq_factor`);
  }
  return scaling;
}

function readYarn({ fields, path, number, trainedContext, originalContext }: ScalingSource): RopeScaling {
  demand(fields, "truncate", [true, false], path);
  const factor = present(fields.factor) ? number("factor") : trainedContext / originalContext;
  const magnitude = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  // transformers takes 0 for "not said" in these.
  const said = (name: string): number | undefined => (fields[name] ? number(name) : undefined);
  const [scale, scaleAll] = [said("mscale"), said("mscale_all_dim")];
  const inferred = scale && scaleAll ? magnitude(scale) / magnitude(scaleAll) : magnitude(1);
  return {
    kind: "yarn",
    factor,
    fastTurns: said("beta_fast") ?? 32,
    slowTurns: said("beta_slow") ?? 1,
    originalContext,
    rounded: fields.truncate !== false,
    attentionFactor: number("attention_factor", inferred),
  };
}

function readLongRope({ fields, path, number, trainedContext, originalContext }: ScalingSource): RopeScaling {
  const factors = (name: string): readonly number[] => {
    const value = fields[name];
    const isNumber = (each: unknown) => typeof each === "number" && Number.isFinite(each) && each > 0;
    if (Array.isArray(value) && value.every(isNumber)) return value as number[];
    throw bad(`${path}.${name}`, `must be a list of positive numbers, is ${show(value)}`);
  };
  const [short, long] = [factors("short_factor"), factors("long_factor")];
  if (short.length !== long.length) {
    throw bad(`${path}.long_factor`, `has ${long.length} numbers, short_factor ${short.length}`);
  }
  const factor = present(fields.factor) ? number("factor") : trainedContext / originalContext;
  const inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalContext));
  return {
    kind: "longrope",
    short,
    long,
    originalContext,
    attentionFactor: number("attention_factor", inferred),
  };
}
