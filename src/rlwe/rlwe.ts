/** RLWE masks, parameters and their security estimates. @module */
export { BufferPool } from "./buffer-pool.ts";
export {
  answeredEntropy,
  estimateLwe,
  functionQueries,
  type LweEstimate,
} from "./lattice-estimate.ts";
export { MaskSource, type OneTimeMasks } from "./mask-source.ts";
export { securityOf } from "./parameter-security.ts";
export {
  createParameters,
  DEFAULT_PARAMETERS,
  type Parameters,
  type ParametersLiteral,
} from "./parameters.ts";
export { PublicElements, publicElementBytes } from "./public-elements.ts";
export { SECURITY_TABLE } from "./security-table.ts";
