/** RLWE masks, parameters and their security estimates. @module */
export type {
  Address,
  Kernels,
  ProductTerm,
  PublicElement,
  SmallBytes,
  Spectrum,
} from "../ring/kernels.ts";
export type { RandomSource } from "../ring/random-source.ts";
export { BufferPool } from "../rlwe/buffer-pool.ts";
export {
  answeredEntropy,
  estimateLwe,
  functionQueries,
  type LweEstimate,
  type LweInstance,
} from "../rlwe/lattice-estimate.ts";
export { MaskSource, type OneTimeMasks } from "../rlwe/mask-source.ts";
export {
  type Instances,
  type ParameterSecurity,
  SECURITY_TABLE,
  type SecurityTableRow,
  securityOf,
} from "../rlwe/parameter-security.ts";
export {
  createParameters,
  DEFAULT_PARAMETERS,
  type Parameters,
  type ParametersLiteral,
} from "../rlwe/parameters.ts";
export { PublicElements, publicElementBytes } from "../rlwe/public-elements.ts";
