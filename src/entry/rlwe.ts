/** RLWE masks, parameters and their security estimates. @module */
export type { Address, Kernels, PublicElement } from "../ring/kernels.ts";
export type { RandomSource } from "../ring/random-source.ts";
export { BufferPool } from "../rlwe/buffer-pool.ts";
export {
  estimateLwe,
  functionQueries,
  type LweEstimate,
  type LweInstance,
  type QueryLeak,
  remainingHintDimension,
} from "../rlwe/lattice-estimate.ts";
export { MaskSource } from "../rlwe/mask-source.ts";
export { type AttackEstimates, type ParameterSecurity, securityOf } from "../rlwe/parameter-security.ts";
export {
  createParameters,
  DEFAULT_PARAMETERS,
  type Layout,
  type LayoutBlock,
  type Parameters,
  type ParametersLiteral,
} from "../rlwe/parameters.ts";
export { type ElementId, expandPublicElement, publicElementBytes } from "../rlwe/public-elements.ts";
export { SECURITY_TABLE, type SecurityTableRow } from "../rlwe/security-table.ts";
