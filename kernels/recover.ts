/**
 * y_i = scale_i·u_i·inverse in f64, rounded to f32, where u_i = w_i − h_i mod 2^32, centred and clamped to ±largest.
 * What is not finite, or smaller than smallest, becomes 0 (docs/security.md, rule 6): no branch on a value.
 * @param words u32[count], replaced by f32[count] @param products u32[count] @param scales f64[count]
 */
export function recoverRows(
  words: usize,
  products: usize,
  scales: usize,
  count: i32,
  inverse: f64,
  largest: f64,
  smallest: f32,
): void {
  for (const end = words + <usize>count * 4; words < end; words += 4, products += 4, scales += 8) {
    const u = <f64>(load<i32>(words) - load<i32>(products));
    const y = <f32>(load<f64>(scales) * max(-largest, min(largest, u)) * inverse);
    const size = abs(y);
    store<f32>(words, select<f32>(y, 0, i32(size >= smallest) & i32(size <= f32.MAX_VALUE)));
  }
}
