/**
 * The manifest of a bundle: everything about an adapter version that is public and small. It travels as JSON in
 * the safetensors header under "tacet"; scales and bases are tensors beside it (docs/protocol.md §Bundle).
 */
import { fromHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { DEFAULT_PARAMETERS, type Parameters } from "../rlwe/parameters.ts";
import type { AdapterText } from "../weights/adapter-text.ts";
import { parseJsonRecord, quoteName } from "../weights/json-file.ts";
import { decodeManifestChanges, type ManifestChanges } from "./bundle-changes.ts";
import { MAX_INVOCATION_TOKENS } from "../weights/lora-config.ts";
import { array, hex, integer, isName, record, bundleRefusal, string } from "./manifest-fields.ts";
import { decodeAdapterText, LARGEST_ID } from "./manifest-text.ts";
import { PUBLIC_KEY_BYTES } from "./signature.ts";

export const BUNDLE_VERSION = 2;
/** Of bundles whose client must do more than add deltas to linear layers: it embeds ids, or applies published parts. */
export const EXTENDED_VERSION = 3;
export { bundleRefusal } from "./manifest-fields.ts";

const MAX_GROUPS = 65_536;
/** Of a group: as many experts as models have. */
const MAX_MODULES = 1024;
const MAX_DIMENSION = 1 << 20;
/** Largest rank of a public basis: checking that it is orthonormal takes outFeatures·rank² steps. */
export const MAX_BASIS_RANK = 512;

export interface BundleModule {
  readonly name: string;
  readonly outFeatures: number;
  /** Rows of the group's W that belong to this module: its rank. */
  readonly rows: number;
}

export interface BundleGroup {
  readonly layer: number;
  readonly inFeatures: number;
  /** "ids": x is the one-hot of a token; "routed": the modules are experts, all of whose rows are asked for. */
  readonly input?: "ids" | "routed";
  /** Vectors of one token, where there are more than one. */
  readonly rowsPerToken?: number;
  readonly modules: readonly BundleModule[];
}

export interface BundleManifest {
  readonly version: number;
  /** Name of the adapter, as the provider calls it. */
  readonly adapter: string;
  /** 16 random bytes, hex: what the public elements are expanded from. */
  readonly bundleId: string;
  /** SHA-256, hex, of the base model (weights/fingerprint.ts). */
  readonly baseFingerprint: string;
  /** SHA-256, hex, that quantized copies of the base model are known by; absent from bundles of Tacet 0.1.0. */
  readonly baseVectorsFingerprint?: string | undefined;
  /** Ed25519 public key, hex, that signs the keys of this bundle (key-signature.ts). */
  readonly keySigner: string;
  readonly parameters: Parameters;
  readonly groups: readonly BundleGroup[];
  /** What the adapter changes about text; absent where it changes nothing, and from bundles of Tacet 0.1.0. */
  readonly text?: AdapterText | undefined;
  /** Of an activated LoRA: the token ids that a client finds the place by from which on it asks (weights/lora-adapter.ts). */
  readonly invocationTokens?: readonly number[] | undefined;
  /** What the adapter changes of the base model in the clear; absent where it changes nothing. */
  readonly changes?: ManifestChanges | undefined;
}

/** The least version that says what this manifest says. */
export function versionOf({ groups, changes }: Pick<BundleManifest, "groups" | "changes">): number {
  const isExtended = changes !== undefined || groups.some(({ input }) => input !== undefined);
  return isExtended ? EXTENDED_VERSION : BUNDLE_VERSION;
}

/** Σ rows of the modules: R. */
export function groupRows(group: BundleGroup): number {
  return group.modules.reduce((sum, module) => sum + module.rows, 0);
}

export function encodeManifest(manifest: BundleManifest): string {
  return JSON.stringify(manifest);
}

/** @throws TacetError bad_bundle, naming the field, if the text is not a manifest of this version */
export function decodeManifest(json: string): BundleManifest {
  const fields = parseJsonRecord(json, "the bundle's manifest", "bad_bundle");
  const { version } = fields;
  if (version !== BUNDLE_VERSION && version !== EXTENDED_VERSION) {
    throw new TacetError(
      "bad_bundle",
      `the bundle has version ${quoteName(String(version))}, this reads ${BUNDLE_VERSION} and ${EXTENDED_VERSION}`,
      {
        hint: "use the same version of tacet as the provider; a provider makes bundles of this version with 'tacet bundle'",
      },
    );
  }
  const groups = array(fields.groups, "groups", MAX_GROUPS);
  const text = decodeAdapterText(fields.text);
  const isExtended = version === EXTENDED_VERSION;
  if (!isExtended && fields.changes !== undefined) throw bundleRefusal("version 2 has no changes");
  const changes = fields.changes === undefined ? undefined : decodeManifestChanges(fields.changes);
  const decoded = groups.map((group, i) => decodeGroup(group, `groups[${i}]`, isExtended));
  if (versionOf({ groups: decoded, ...(changes && { changes }) }) !== version)
    throw bundleRefusal(`it has version ${version} and nothing that needs it`);
  const invocationTokens = decodeInvocation(fields.invocationTokens);
  return {
    version,
    adapter: string(fields.adapter, "adapter"),
    bundleId: hex(fields.bundleId, "bundleId", 16),
    baseFingerprint: hex(fields.baseFingerprint, "baseFingerprint", 32),
    ...(fields.baseVectorsFingerprint === undefined
      ? {}
      : { baseVectorsFingerprint: hex(fields.baseVectorsFingerprint, "baseVectorsFingerprint", 32) }),
    keySigner: hex(fields.keySigner, "keySigner", PUBLIC_KEY_BYTES),
    parameters: decodeParameters(fields.parameters),
    groups: decoded,
    ...(text === undefined ? {} : { text }),
    ...(changes === undefined ? {} : { changes }),
    ...(invocationTokens === undefined ? {} : { invocationTokens }),
  };
}

function decodeInvocation(raw: unknown): readonly number[] | undefined {
  if (raw === undefined) return undefined;
  const ids = array(raw, "invocationTokens", MAX_INVOCATION_TOKENS);
  if (ids.length === 0) throw bundleRefusal("invocationTokens is empty");
  return ids.map((id, i) => integer(id, `invocationTokens[${i}]`, 0, LARGEST_ID));
}

/** A bundle of this version uses the default set; the fields are there so that a reader need not know its name. */
function decodeParameters(raw: unknown): Parameters {
  const fields = record(raw, "parameters");
  for (const [name, value] of Object.entries(DEFAULT_PARAMETERS)) {
    if (fields[name] !== value)
      throw bundleRefusal(`parameters.${name} is not that of ${DEFAULT_PARAMETERS.name}`);
  }
  return DEFAULT_PARAMETERS;
}

function decodeGroup(raw: unknown, at: string, isExtended: boolean): BundleGroup {
  const fields = record(raw, at);
  const input = isExtended ? fields.input : undefined;
  if (input !== undefined && input !== "ids" && input !== "routed")
    throw bundleRefusal(`${at}.input is not "ids" or "routed"`);
  const perToken = input === "routed" ? fields.rowsPerToken : undefined;
  const modules = array(fields.modules, `${at}.modules`, MAX_MODULES).map((module, i) => {
    const where = `${at}.modules[${i}]`;
    const parts = record(module, where);
    return {
      name: string(parts.name, `${where}.name`),
      outFeatures: integer(parts.outFeatures, `${where}.outFeatures`, 1, MAX_DIMENSION),
      rows: integer(parts.rows, `${where}.rows`, 1, MAX_DIMENSION),
    };
  });
  for (const module of modules) {
    if (module.rows > module.outFeatures) {
      throw bundleRefusal(
        `${at}: module ${module.name} has ${module.rows} rows for ${module.outFeatures} outputs`,
      );
    }
  }
  if (modules.some(({ rows }) => rows > MAX_BASIS_RANK)) {
    throw bundleRefusal(`${at} has a basis of more than ${MAX_BASIS_RANK} columns`);
  }
  return {
    layer: integer(fields.layer, `${at}.layer`, 0, 65_535),
    inFeatures: integer(fields.inFeatures, `${at}.inFeatures`, 1, MAX_DIMENSION),
    ...(input === undefined ? {} : { input }),
    ...(perToken === undefined
      ? {}
      : { rowsPerToken: integer(perToken, `${at}.rowsPerToken`, 1, MAX_MODULES) }),
    modules,
  };
}

/**
 * What a bundle may be called: a name of at most 128 characters.
 * @throws TacetError bad_argument
 */
export function checkAdapterName(name: string): string {
  if (isName(name) && name.length <= 128) return name;
  throw new TacetError("bad_argument", "the adapter's name must have 1 to 128 printable characters", {
    hint: "give it with --name",
  });
}

/**
 * The name of an adapted module, as the adapter's tensors spell it.
 * @throws TacetError bad_adapter
 */
export function checkModuleName(name: string): string {
  if (isName(name)) return name;
  throw new TacetError("bad_adapter", `the adapter has a module named ${quoteName(name)}`, {
    hint: "a name has 1 to 512 printable characters",
  });
}

export function bundleIdBytes(manifest: BundleManifest): Uint8Array {
  return fromHex(manifest.bundleId);
}
