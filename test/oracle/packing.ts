/** Bit streams as strings of binary digits, the last word first. */

export function packTop(words: ArrayLike<number>, count: number, bits: number): Uint8Array {
  const half = bits === 32 ? 0 : 2 ** (31 - bits);
  const digits = Array.from({ length: count }, (_, i) =>
    ((words[i] + half) >>> (32 - bits)).toString(2).padStart(bits, "0"),
  );
  const stream = digits.reverse().join("");
  return Uint8Array.from({ length: Math.ceil(stream.length / 8) }, (_, i) => valueAt(stream, 8 * i, 8));
}

export function unpackTop(packed: Uint8Array, count: number, bits: number): Uint32Array {
  const digits = Array.from(packed, (byte) => byte.toString(2).padStart(8, "0"));
  const stream = digits.reverse().join("");
  return Uint32Array.from({ length: count }, (_, i) => valueAt(stream, i * bits, bits) * 2 ** (32 - bits));
}

/** `count` bits from bit `first` of the stream on; behind its end there are zeros. */
function valueAt(stream: string, first: number, count: number): number {
  const end = stream.length - first;
  return Number.parseInt(`0${stream.slice(Math.max(0, end - count), Math.max(0, end))}`, 2);
}
