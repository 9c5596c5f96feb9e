/** How far words are from uniform and from each other. */

/** Standard deviations of the chi-square statistic of the words' top bytes from that of uniform ones. */
export function uniformityZ(words: Int32Array): number {
  const counts = new Float64Array(256);
  for (const word of words) counts[word >>> 24]++;
  const expected = words.length / 256;
  const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return (chi - 255) / Math.sqrt(2 * 255);
}

/** Correlation of two lists of words as signed numbers, times √count: standard normal for independent words. */
export function correlationZ(a: Int32Array, b: Int32Array): number {
  let product = 0;
  let squareA = 0;
  let squareB = 0;
  for (let i = 0; i < a.length; i++) {
    const left = a[i] / 2 ** 31;
    const right = b[i] / 2 ** 31;
    product += left * right;
    squareA += left * left;
    squareB += right * right;
  }
  return (product / Math.sqrt(squareA * squareB)) * Math.sqrt(a.length);
}

/** K·|mean over K lists of e^(2πi·word/2^32)|², averaged over the places: 1 for uniform words, K for equal ones. */
export function meanPhase(lists: readonly Int32Array[]): number {
  const places = lists[0].length;
  let total = 0;
  for (let i = 0; i < places; i++) {
    let [real, imaginary] = [0, 0];
    for (const words of lists) {
      const angle = (2 * Math.PI * words[i]) / 2 ** 32;
      real += Math.cos(angle);
      imaginary += Math.sin(angle);
    }
    total += (real ** 2 + imaginary ** 2) / lists.length;
  }
  return total / places;
}
