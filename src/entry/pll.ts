/**
 * The Private Linear Layer: y = W·x where the client hides x and the provider hides W.
 *
 *   setup → makeQuery → answerQuery → recoverResult
 *
 * Local steps only: no socket, no file. @module
 */

export { ClientLayer, type ClientLayerInput } from "../pll/client-layer.ts";
export { type LoraPair, mergeLora, type SplitLora, splitLora } from "../pll/lora-split.ts";
export { OneTimeMasks } from "../pll/one-time-masks.ts";
export { ProviderLayer, type ProviderLayerInput } from "../pll/provider-layer.ts";
export { PublicBasis } from "../pll/public-basis.ts";
export { type QuantizedMatrix, quantizeRows } from "../pll/quantize.ts";
export { type SetupInput, type SetupResult, setup } from "../pll/setup.ts";
export {
  type Address,
  type CoeffPoly,
  type InnerProducts,
  type KernelBuild,
  Kernels,
  type NttPoly,
  type PublicElement,
} from "../ring/kernels.ts";
export { type RandomSource, systemRandom } from "../ring/random-source.ts";
export { BufferPool } from "../rlwe/buffer-pool.ts";
export { MaskSource } from "../rlwe/mask-source.ts";
export {
  DEFAULT_PARAMETERS,
  type Layout,
  type LayoutBlock,
  type Parameters,
  type ParametersLiteral,
} from "../rlwe/parameters.ts";
export { expandLayout } from "../rlwe/public-elements.ts";
