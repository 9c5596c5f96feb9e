/**
 * The published parts of a bundle: what its manifest says of them, and the tensors that hold them
 * (docs/protocol.md §Bundle). Whether they are those of the base model is checked where that is at hand.
 */
import { bytesOf } from "../base/bytes.ts";
import { type BaseChanges, type ChangedTensor, type TokenRows, valuesOf } from "../weights/base-changes.ts";
import type { TensorToEncode } from "../weights/safetensors.ts";
import { array, integer, record, bundleRefusal, string } from "./manifest-fields.ts";
import { PART_NAMES, type PartName } from "./published-parts.ts";

const MOST_ENTRIES = 65_536;
const LARGEST_AXIS = 1 << 20;
const LARGEST_ID = 2 ** 31 - 1;
const DTYPES = ["F32", "F16", "BF16"] as const;

/** What is in the manifest. */
export interface ManifestChanges {
  /** The parts, as the provider named them. */
  readonly published: readonly PartName[];
  /** Of the base's tensors that one takes the place of: a tied head has that of its embedding. */
  readonly tensors: readonly {
    readonly names: readonly string[];
    readonly dtype: ChangedTensor["dtype"];
    readonly shape: readonly number[];
  }[];
  readonly tokens: readonly {
    readonly modules: readonly string[];
    readonly count: number;
    readonly width: number;
  }[];
  readonly scales: readonly ModuleVector[];
  readonly biases: readonly ModuleVector[];
}

export interface ModuleVector {
  readonly module: string;
  readonly outFeatures: number;
}

/** Names of what is there more than once, by what it is. */
function namesOf<T>(entries: ReadonlyMap<string, T>): Map<T, string[]> {
  const names = new Map<T, string[]>();
  for (const [name, value] of entries) names.set(value, [...(names.get(value) ?? []), name]);
  return names;
}

const vectorsOf = (vectors: ReadonlyMap<string, Float32Array>): ModuleVector[] =>
  [...vectors].map(([module, { length }]) => ({ module, outFeatures: length }));

export function describeChanges(changes: BaseChanges, published: readonly PartName[]): ManifestChanges {
  return {
    published,
    tensors: [...namesOf(changes.tensors)].map(([{ dtype, shape }, names]) => ({ names, dtype, shape })),
    tokens: [...namesOf(changes.tokens)].map(([{ ids, rows }, modules]) => ({
      modules,
      count: ids.length,
      width: rows.length / ids.length,
    })),
    scales: vectorsOf(changes.scales),
    biases: vectorsOf(changes.biases),
  };
}

export function encodeChanges(changes: BaseChanges): TensorToEncode[] {
  const vectors = (kind: string, values: ReadonlyMap<string, Float32Array>): TensorToEncode[] =>
    [...values.values()].map((data, i) => ({
      ...{ name: `changes.${kind}.${i}`, dtype: "F32", shape: [data.length] },
      data: bytesOf(data),
    }));
  return [
    ...[...namesOf(changes.tensors).keys()].map(({ dtype, shape, bytes }, i) => ({
      ...{ name: `changes.tensor.${i}`, dtype, shape },
      data: bytes,
    })),
    ...[...namesOf(changes.tokens).keys()].flatMap(({ ids, rows }, i): TensorToEncode[] => [
      { name: `changes.ids.${i}`, dtype: "I32", shape: [ids.length], data: bytesOf(ids) },
      {
        ...{ name: `changes.rows.${i}`, dtype: "F32", shape: [ids.length, rows.length / ids.length] },
        data: bytesOf(rows),
      },
    ]),
    ...vectors("scales", changes.scales),
    ...vectors("biases", changes.biases),
  ];
}

/** @throws TacetError bad_bundle, naming the field */
export function decodeManifestChanges(raw: unknown): ManifestChanges {
  const fields = record(raw, "changes");
  const list = <T>(name: string, read: (entry: Record<string, unknown>, at: string) => T): T[] => {
    const value = fields[name];
    if (Array.isArray(value) && value.length === 0) return [];
    const at = `changes.${name}`;
    return array(value, at, MOST_ENTRIES).map((entry, i) =>
      read(record(entry, `${at}[${i}]`), `${at}[${i}]`),
    );
  };
  const names = (value: unknown, at: string) => array(value, at, 256).map((name) => string(name, at));
  const vector = (entry: Record<string, unknown>, at: string): ModuleVector => ({
    module: string(entry.module, `${at}.module`),
    outFeatures: integer(entry.outFeatures, `${at}.outFeatures`, 1, LARGEST_AXIS),
  });
  const published = array(fields.published, "changes.published", PART_NAMES.length).map((name) => {
    const part = PART_NAMES.find((known) => known === name);
    if (!part) throw bundleRefusal("changes.published names a part that this version does not know");
    return part;
  });
  const changes: ManifestChanges = {
    published,
    tensors: list("tensors", (entry, at) => {
      const dtype = DTYPES.find((known) => known === entry.dtype);
      if (!dtype) throw bundleRefusal(`${at}.dtype is none of ${DTYPES.join(", ")}`);
      const shape = array(entry.shape, `${at}.shape`, 3).map((axis) =>
        integer(axis, `${at}.shape`, 1, LARGEST_AXIS),
      );
      return { names: names(entry.names, `${at}.names`), dtype, shape };
    }),
    tokens: list("tokens", (entry, at) => ({
      modules: names(entry.modules, `${at}.modules`),
      count: integer(entry.count, `${at}.count`, 1, LARGEST_AXIS),
      width: integer(entry.width, `${at}.width`, 1, LARGEST_AXIS),
    })),
    scales: list("scales", vector),
    biases: list("biases", vector),
  };
  for (const [what, all] of [
    ["tensors", changes.tensors.flatMap((entry) => entry.names)],
    ["tokens", changes.tokens.flatMap((entry) => entry.modules)],
    ["scales", changes.scales.map((entry) => entry.module)],
    ["biases", changes.biases.map((entry) => entry.module)],
  ] as const) {
    if (new Set(all).size !== all.length) throw bundleRefusal(`changes.${what} names something twice`);
  }
  return changes;
}

/**
 * @param read a tensor's bytes, in a separate buffer; throws unless it has this type and shape
 * @throws TacetError bad_bundle for values that are not finite, ids that do not rise
 */
export async function decodeChanges(
  { tensors, tokens, scales, biases }: ManifestChanges,
  read: (name: string, dtype: string, shape: readonly number[]) => Promise<Uint8Array<ArrayBuffer>>,
): Promise<BaseChanges> {
  const finite = <T extends Float32Array>(values: T, what: string): T => {
    if (!values.every(Number.isFinite)) throw bundleRefusal(`${what} holds values that are not finite`);
    return values;
  };
  const readF32 = async (name: string, shape: readonly number[]) =>
    finite(new Float32Array((await read(name, "F32", shape)).buffer), name);
  const vectors = async (kind: string, list: readonly ModuleVector[]) => {
    const entries = list.map(
      async ({ module, outFeatures }, i) =>
        [module, await readF32(`changes.${kind}.${i}`, [outFeatures])] as const,
    );
    return new Map(await Promise.all(entries));
  };
  const changed = new Map<string, ChangedTensor>();
  for (const [i, { names, dtype, shape }] of tensors.entries()) {
    const name = `changes.tensor.${i}`;
    const tensor: ChangedTensor = { dtype, shape, bytes: await read(name, dtype, shape) };
    finite(valuesOf(tensor), name);
    for (const base of names) changed.set(base, tensor);
  }
  const rows = new Map<string, TokenRows>();
  for (const [i, { modules, count, width }] of tokens.entries()) {
    const ids = new Int32Array((await read(`changes.ids.${i}`, "I32", [count])).buffer);
    if (!ids.every((id, k) => id >= 0 && id <= LARGEST_ID && (k === 0 || id > ids[k - 1])))
      throw bundleRefusal(`changes.ids.${i} are no ascending token ids`);
    const values = { ids, rows: await readF32(`changes.rows.${i}`, [count, width]) };
    for (const module of modules) rows.set(module, values);
  }
  return {
    tensors: changed,
    tokens: rows,
    scales: await vectors("scales", scales),
    biases: await vectors("biases", biases),
  };
}
