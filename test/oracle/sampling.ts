/** The samplers, bit by bit. */

function bits(byte: number, count: number): number {
  let sum = 0;
  for (let b = 0; b < count; b++) sum += (byte >> b) & 1;
  return sum;
}

/** CBD(21) samples; 16 samples from each 96 bytes, six planes of 16 (kernels/errors.ts). */
export function binomialErrors(random: Uint8Array, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => {
    const plane = (p: number) => random[Math.floor(i / 16) * 96 + p * 16 + (i % 16)];
    return (
      bits(plane(0), 8) +
      bits(plane(1), 8) +
      bits(plane(2), 5) -
      bits(plane(3), 8) -
      bits(plane(4), 8) -
      bits(plane(5), 5)
    );
  });
}

/** Uniform integers in [-2^(bits-1), 2^(bits-1)): the low bits of each little-endian pair of bytes, as a signed number. */
export function uniformErrors(random: Uint8Array, count: number, bits: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) =>
    Number(BigInt.asIntN(bits, BigInt(random[2 * i] + 256 * random[2 * i + 1]))),
  );
}

/** Ternary coefficients, or undefined when the bytes run out: digit k of the j-th byte below 243 is coefficient 416·k + j. */
export function ternarySecret(random: Uint8Array): Int16Array | undefined {
  const accepted = [...random].filter((byte) => byte < 243);
  if (accepted.length < 416) return undefined;
  return Int16Array.from(
    { length: 2048 },
    (_, i) => (Math.floor(accepted[i % 416] / 3 ** Math.floor(i / 416)) % 3) - 1,
  );
}
