/** Numbers as people read them: in findings and on the command line. */

/** "99.7 %" */
export function percent(share: number): string {
  const value = 100 * share;
  return `${value === 100 || value === 0 ? value : value.toFixed(value > 99.9 || value < 1 ? 2 : 1)} %`;
}

/** 2,313,968 */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
