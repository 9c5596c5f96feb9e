/** Whether products with codes of so many bits take x in bytes: where the engine has relaxed SIMD. */
// @ts-ignore: decorator
@inline
export function inBytes(bits: i32): bool {
  return ASC_FEATURE_RELAXED_SIMD && bits == 4;
}
