/** From a LoRA adapter to its public bundle and private state (docs/protocol.md §Bundle). Runs at the provider, offline. */
import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "../base/bytes.ts";
import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import { ROOT_SECRET_BYTES } from "../pll/key-secrets.ts";
import { MARK_SECRET_BYTES } from "../pll/marks.ts";
import { type LoraPair, splitLora } from "../pll/lora-split.ts";
import { quantizeRows } from "../pll/quantize.ts";
import type { RandomSource } from "../ring/random-source.ts";
import { DEFAULT_PARAMETERS, type Parameters } from "../rlwe/parameters.ts";
import { BUNDLE_ID_BYTES } from "../rlwe/public-elements.ts";
import type { AdapterText } from "../weights/adapter-text.ts";
import { type BundleTensors, encodeBundle } from "./bundle.ts";
import { type BaseChanges, NO_CHANGES } from "../weights/base-changes.ts";
import { describeChanges } from "./bundle-changes.ts";
import {
  type BundleGroup,
  type BundleManifest,
  checkAdapterName,
  checkModuleName,
  MAX_BASIS_RANK,
  versionOf,
} from "./manifest.ts";
import { encodePrivateState, type PrivateGroup } from "./private-state.ts";
import { type PartName, parsePartNames, partsToPublish, refuseUnpublished } from "./published-parts.ts";
import { createSigningKey, publicKeyOf } from "./signature.ts";

/** Adapted modules that share one input, in forward order. */
export interface GroupSpec {
  readonly layer: number;
  readonly modules: readonly string[];
  readonly inFeatures: number;
  readonly input?: "ids" | "routed";
  readonly rowsPerToken?: number;
}

export interface CreateBundleInput {
  readonly adapter: string;
  readonly baseFingerprint: Uint8Array;
  /** Without it the adapter is not served to quantized copies of its base model. */
  readonly baseVectorsFingerprint?: Uint8Array | undefined;
  readonly groups: readonly GroupSpec[];
  /** By full module name. */
  readonly modules: ReadonlyMap<string, LoraPair>;
  /** What it changes of the base model besides; only where the provider says so is it published. */
  readonly changes?: BaseChanges | undefined;
  /** Parts that may be known to everyone who gets the bundle (published-parts.ts). Default: none. */
  readonly publish?: readonly PartName[] | undefined;
  readonly parameters?: Parameters | undefined;
  /** What the adapter changes about text: public. */
  readonly text?: AdapterText | undefined;
  /** Of an activated LoRA: public. */
  readonly invocationTokens?: readonly number[] | undefined;
  /** Of the version before this one: accounts keep their marks. Default: drawn. Secret. */
  readonly markSecret?: Uint8Array | undefined;
}

export interface CreatedBundle {
  readonly manifest: BundleManifest;
  /** The public file. */
  readonly bundle: Uint8Array;
  readonly digest: Uint8Array;
  /** The private file. */
  readonly privateState: Uint8Array;
}

const INPUT: OptionTypes<CreateBundleInput> = {
  adapter: "string",
  baseFingerprint: "object",
  baseVectorsFingerprint: "object",
  groups: "list",
  modules: "object",
  changes: "object",
  publish: "list",
  parameters: "object",
  text: "object",
  invocationTokens: "list",
  markSecret: "object",
};
const REQUIRED = {
  adapter: '"law"',
  baseFingerprint: "await fingerprintCheckpoint(checkpoint)",
  groups: "(await fitAdapter(adapter, checkpoint)).groups",
  modules: "(await fitAdapter(adapter, checkpoint)).modules",
};

interface GroupResult {
  readonly spec: BundleGroup;
  readonly tensors: BundleTensors;
  readonly secret: PrivateGroup;
}

/**
 * @param random the platform's CSPRNG
 * @param onProgress groups done and groups in all; may be async, so that a progress bar is drawn
 * @throws TacetError bad_adapter if the adapter has no module or numbers that are not finite; unsupported_adapter for
 *   parts that would have to be published and may not; bad_argument for fields that do not exist or are missing, a name
 *   that no client would accept
 */
export async function createBundle(
  input: CreateBundleInput,
  random: RandomSource,
  onProgress: (done: number, total: number) => void | Promise<void> = () => {},
): Promise<CreatedBundle> {
  checkOptions(input, INPUT, { of: "createBundle", required: REQUIRED });
  const parameters = input.parameters ?? DEFAULT_PARAMETERS;
  if (input.groups.length === 0) throw new TacetError("bad_adapter", "the adapter has no module to serve");
  checkAdapterName(input.adapter);
  for (const { modules } of input.groups) modules.forEach(checkModuleName);
  const changed = input.changes ?? NO_CHANGES;
  const needed = partsToPublish(changed, input.modules.values());
  refuseUnpublished(needed, parsePartNames(input.publish ?? []));
  const bundleId = new Uint8Array(BUNDLE_ID_BYTES);
  random(bundleId);
  const keySigningKey = createSigningKey(random);
  const results: GroupResult[] = [];
  for (const [g, group] of input.groups.entries()) {
    await onProgress(g, input.groups.length);
    results.push(createGroup(input, parameters, group, random));
  }
  const groups = results.map(({ spec }) => spec);
  const changes = needed.length === 0 ? undefined : describeChanges(changed, needed);
  const manifest: BundleManifest = {
    version: versionOf({ groups, ...(changes && { changes }) }),
    adapter: input.adapter,
    bundleId: toHex(bundleId),
    baseFingerprint: toHex(input.baseFingerprint),
    ...(input.baseVectorsFingerprint && { baseVectorsFingerprint: toHex(input.baseVectorsFingerprint) }),
    keySigner: toHex(publicKeyOf(keySigningKey)),
    parameters,
    groups,
    text: input.text,
    invocationTokens: input.invocationTokens,
    changes,
  };
  const bundle = encodeBundle(
    manifest,
    results.map(({ tensors }) => tensors),
    changed,
  );
  const digest = sha256(bundle);
  const rootSecret = new Uint8Array(ROOT_SECRET_BYTES);
  random(rootSecret);
  const markSecret = input.markSecret ?? new Uint8Array(MARK_SECRET_BYTES);
  if (input.markSecret === undefined) random(markSecret);
  const privateState = encodePrivateState(manifest, digest, {
    rootSecret,
    markSecret,
    keySigningKey,
    groups: results.map(({ secret }) => secret),
  });
  await onProgress(input.groups.length, input.groups.length);
  return { manifest, bundle, digest, privateState };
}

function createGroup(
  input: CreateBundleInput,
  parameters: Parameters,
  group: GroupSpec,
  random: RandomSource,
): GroupResult {
  const pairs = group.modules.map((name) => {
    const pair = input.modules.get(name);
    if (pair === undefined) throw new TacetError("bad_adapter", `the adapter has no weights for ${name}`);
    if (!pair.a.every(Number.isFinite) || !pair.b.every(Number.isFinite)) {
      throw new TacetError("bad_adapter", `the weights of ${name} are not finite`);
    }
    return { name, pair };
  });
  const parts = pairs.map(({ name, pair }) => {
    if (Math.min(pair.rank, pair.outFeatures) > MAX_BASIS_RANK) {
      throw new TacetError(
        "unsupported_adapter",
        `${name} has rank ${pair.rank}, more than ${MAX_BASIS_RANK}`,
        { hint: "reduce it, for instance by a singular value decomposition of B·A" },
      );
    }
    const split = splitLora(pair, random);
    const module = { name, outFeatures: pair.outFeatures, rows: split.rows };
    return { module, real: split.private, basis: Float32Array.from(split.publicBasis) };
  });
  const rows = parts.reduce((sum, { module }) => sum + module.rows, 0);
  const real = new Float64Array(rows * group.inFeatures);
  let offset = 0;
  for (const part of parts) {
    real.set(part.real, offset);
    offset += part.real.length;
  }
  // After the rotation the rows of one module are alike: one scale says nothing of any of them.
  const runs = parts.map(({ module }) => module.rows);
  const { integers, scales } = quantizeRows(real, rows, group.inFeatures, parameters.rowNorm, runs);
  return {
    spec: {
      layer: group.layer,
      inFeatures: group.inFeatures,
      ...(group.input === undefined ? {} : { input: group.input }),
      ...(group.rowsPerToken === undefined ? {} : { rowsPerToken: group.rowsPerToken }),
      modules: parts.map(({ module }) => module),
    },
    tensors: { scales, bases: parts.map(({ basis }) => basis) },
    secret: { weights: integers },
  };
}
