/**
 * The Private Linear Layer: y = W·x where the client hides x and the provider hides W.
 *
 *   encryptWeights → loadKey;  makeQuery → answerQuery → applyKey, recoverResult
 *
 * Local steps only: no socket, no file. @module
 */

export {
  type ClientKey,
  ClientLayer,
  type ClientLayerInput,
  type ForeignQuery,
  type OpenQuery,
} from "../pll/client-layer.ts";
export { type EncryptedWeights, encryptedWeightBytes } from "../pll/encrypted-weights.ts";
export { type KeySeedInput, keySeed } from "../pll/key-secrets.ts";
export { type LoraPair, mergeLora, type SplitLora, splitLora } from "../pll/lora-split.ts";
export type { GroupMark } from "../pll/marks.ts";
export { ProviderLayer } from "../pll/provider-layer.ts";
export { PublicBasis, type StridedRows } from "../pll/public-basis.ts";
export { type QuantizedRows, quantizeRows } from "../pll/quantize.ts";
export type { LayerSecret } from "../pll/secret-stream.ts";
export type { ProviderLayerInput, WeightEncryption } from "../pll/weight-encryption.ts";
export {
  type Address,
  type InnerProducts,
  type KernelBuild,
  Kernels,
  type PublicElement,
} from "../ring/kernels.ts";
export { type RandomSource, systemRandom } from "../ring/random-source.ts";
export { BufferPool } from "../rlwe/buffer-pool.ts";
export { MaskSource, type OneTimeMasks } from "../rlwe/mask-source.ts";
export { DEFAULT_PARAMETERS, type Parameters, type ParametersLiteral } from "../rlwe/parameters.ts";
export { PublicElements } from "../rlwe/public-elements.ts";
