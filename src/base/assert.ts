/** Argument checks for programming errors; each returns its input. */

/** @throws RangeError unless value is an integer in [low, high] */
export function assertInteger(value: number, name: string, low: number, high: number): number {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(`${name} must be an integer in [${low}, ${high}], got ${value}`);
  }
  return value;
}

/** @throws RangeError unless the array has exactly this many entries */
export function assertLength<T extends { readonly length: number }>(
  value: T,
  name: string,
  length: number,
): T {
  if (value.length !== length)
    throw new RangeError(`${name} must have ${length} entries, got ${value.length}`);
  return value;
}
