/** Words at which their 16-bit halves, or the carry between them, are at their limits. */
export const EDGE_WORDS: readonly number[] = [
  0,
  1,
  2 ** 32 - 1,
  0x80008000,
  0x7fff7fff,
  0x7fff8000,
  0x80007fff,
  0x00008000,
  0xffff8000,
  2 ** 31,
];
