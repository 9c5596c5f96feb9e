/** float → IEEE 754 binary16, round to nearest, ties to even. */
export function toFloat16(values: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = float16Bits(values[i]);
  return out;
}

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

/** The 16 bits of one number. */
export function float16Bits(value: number): number {
  word[0] = value;
  const sign = (bits[0] >>> 16) & 0x8000;
  const magnitude = bits[0] & 0x7fffffff;
  // NaN, infinity, overflow.
  if (magnitude >= 0x47800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  // Normal: drop 13 bits of the fraction with ties to even, move the exponent bias from 127 to 15.
  if (magnitude >= 0x38800000)
    return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13);
  // Subnormal: units of 2^-24; the product is exact, so this rounds once.
  const units = Math.abs(word[0]) * 2 ** 24;
  const floor = Math.floor(units);
  const rest = units - floor;
  return sign | (floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0));
}

/** IEEE 754 binary16 to binary32: exponent bias 15 to 127, fraction 10 bits to 23. */
export function widenF16(halves: Uint16Array): Float32Array {
  const words = new Uint32Array(halves.length);
  const values = new Float32Array(words.buffer);
  for (let i = 0; i < words.length; i++) {
    const half = halves[i];
    const sign = (half & 0x8000) << 16;
    const magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) {
      words[i] = sign | 0x7f800000 | ((magnitude & 0x3ff) << 13); // infinity, NaN
    } else if (magnitude >= 0x400) {
      words[i] = sign | ((magnitude << 13) + ((127 - 15) << 23));
    } else {
      values[i] = magnitude * 2 ** -24; // zero, subnormal: normal in binary32
      words[i] |= sign;
    }
  }
  return values;
}
