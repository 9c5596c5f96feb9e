/**
 * What a provider publishes for one adapter version, and what it keeps: made, signed, decoded. `writeStateFolder` of
 * `tacet/platform/node` puts both into the folder that a provider loads.
 * @module
 */
export type { FileTree, PublicKeyEd25519, Sha256 } from "../base/platform.ts";
export { type Bundle, type BundleTensors, decodeBundle } from "../bundle/bundle.ts";
export type { ManifestChanges, ModuleVector } from "../bundle/bundle-changes.ts";
export {
  type CreateBundleInput,
  type CreatedBundle,
  createBundle,
  type GroupSpec,
} from "../bundle/create-bundle.ts";
export {
  isKeySignedBy,
  type KeyIdentity,
  keyPartDigest,
  type SigningTools,
  signKey,
} from "../bundle/key-signature.ts";
export type { BundleGroup, BundleManifest, BundleModule } from "../bundle/manifest.ts";
export { type PrivateGroup, type PrivateState, readPrivateState } from "../bundle/private-state.ts";
export { PART_NAMES, type PartName } from "../bundle/published-parts.ts";
export {
  type BundleSignature,
  createSigningKey,
  decodeSignature,
  encodeSignature,
  isSignedBy,
  publicKeyOf,
  signBundle,
} from "../bundle/signature.ts";
export type { LoraPair } from "../pll/lora-split.ts";
export { BUNDLE_FILE, PRIVATE_FILE, SIGNATURE_FILE } from "../provider/served-adapter.ts";
export { type RandomSource, systemRandom } from "../ring/random-source.ts";
export type { Parameters } from "../rlwe/parameters.ts";
export type { BaseChanges, ChangedTensor, TokenRows } from "../weights/base-changes.ts";
