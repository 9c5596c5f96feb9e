/** How far a byte string is from uniform bytes. */

export interface Uniformity {
  readonly bytes: number;
  /** H = -Σ p·log2 p over the byte values: 8 for uniform bytes. */
  readonly entropyBits: number;
  /** X² = Σ (count - n/256)²/(n/256): 255 ± 22.6 for uniform bytes. */
  readonly chiSquare: number;
  /** (X² - 255)/√510: standard deviations from what uniform bytes give. */
  readonly deviations: number;
}

const VALUES = 256;

export function uniformityOf(parts: Iterable<Uint8Array>): Uniformity {
  const counts = new Float64Array(VALUES);
  let bytes = 0;
  for (const part of parts) {
    for (const byte of part) counts[byte]++;
    bytes += part.length;
  }
  const expected = bytes / VALUES;
  let entropyBits = 0;
  let chiSquare = 0;
  for (const count of counts) {
    if (count > 0) entropyBits -= (count / bytes) * Math.log2(count / bytes);
    chiSquare += (count - expected) ** 2 / expected;
  }
  return {
    bytes,
    entropyBits,
    chiSquare,
    deviations: (chiSquare - (VALUES - 1)) / Math.sqrt(2 * (VALUES - 1)),
  };
}
