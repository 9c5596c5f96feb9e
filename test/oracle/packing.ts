/** Bit streams through one BigInt. */

export function packTop(words: ArrayLike<number>, count: number, bits: number): Uint8Array {
  let stream = 0n;
  for (let i = 0; i < count; i++) {
    const half = bits === 32 ? 0n : 1n << BigInt(31 - bits);
    const value = BigInt.asUintN(32, BigInt(words[i]) + half) >> BigInt(32 - bits);
    stream |= value << BigInt(i * bits);
  }
  return Uint8Array.from({ length: Math.ceil((count * bits) / 8) }, (_, i) =>
    Number((stream >> BigInt(8 * i)) & 255n),
  );
}

export function unpackTop(packed: Uint8Array, count: number, bits: number): Uint32Array {
  let stream = 0n;
  for (const [i, byte] of packed.entries()) stream |= BigInt(byte) << BigInt(8 * i);
  return Uint32Array.from({ length: count }, (_, i) =>
    Number(BigInt.asUintN(bits, stream >> BigInt(i * bits)) << BigInt(32 - bits)),
  );
}
