/** How far words are from uniform and from each other. */

/** Standard deviations of the chi-square statistic of the words' top bytes from that of uniform ones. */
export function uniformityZ(words: Uint32Array): number {
  const counts = new Float64Array(256);
  for (const word of words) counts[word >>> 24]++;
  const expected = words.length / 256;
  const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return (chi - 255) / Math.sqrt(2 * 255);
}

/** Correlation of two lists of words as signed numbers, times √count: standard normal for independent words. */
export function correlationZ(a: Uint32Array, b: Uint32Array): number {
  let product = 0;
  let squareA = 0;
  let squareB = 0;
  for (let i = 0; i < a.length; i++) {
    const left = (a[i] | 0) / 2 ** 31;
    const right = (b[i] | 0) / 2 ** 31;
    product += left * right;
    squareA += left * left;
    squareB += right * right;
  }
  return (product / Math.sqrt(squareA * squareB)) * Math.sqrt(a.length);
}
