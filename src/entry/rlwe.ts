/** RLWE masks, parameters and their security estimates. @module */
export { BufferPool } from "../rlwe/buffer-pool.ts";
export {
  estimateLwe,
  functionQueries,
  type LweEstimate,
  remainingHintDimension,
} from "../rlwe/lattice-estimate.ts";
export { MaskSource } from "../rlwe/mask-source.ts";
export { securityOf } from "../rlwe/parameter-security.ts";
export {
  createParameters,
  DEFAULT_PARAMETERS,
  type Parameters,
  type ParametersLiteral,
} from "../rlwe/parameters.ts";
export { expandPublicElement, publicElementBytes } from "../rlwe/public-elements.ts";
export { SECURITY_TABLE } from "../rlwe/security-table.ts";
