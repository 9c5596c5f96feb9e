/**
 * out_i = [out_i +] Σ_r factors_r·columns[r][i], in f32, column by column in order; a sum that is not finite becomes 0
 * (docs/security.md, rule 6), without a branch.
 * @param columns f32[count][length] @param factors f32[count] @param out f32[length] @param length a multiple of 16
 * @param add −1: to what out holds; 0: out is only written
 */
export function combineColumns(
  columns: usize,
  factors: usize,
  count: i32,
  length: i32,
  out: usize,
  add: i32,
): void {
  if (!ASC_NO_ASSERT) assert(length % 16 == 0 && (add == 0 || add == -1));
  const kept = i32x4.splat(add);
  const stride = <usize>length * 4;
  for (const end = out + stride; out < end; out += 64, columns += 64) {
    let a = v128.and(kept, v128.load(out));
    let b = v128.and(kept, v128.load(out, 16));
    let c = v128.and(kept, v128.load(out, 32));
    let d = v128.and(kept, v128.load(out, 48));
    let column = columns;
    for (let factor = factors, last = factors + <usize>count * 4; factor < last; factor += 4, column += stride) {
      const y = v128.load32_splat(factor);
      a = f32x4.add(a, f32x4.mul(y, v128.load(column)));
      b = f32x4.add(b, f32x4.mul(y, v128.load(column, 16)));
      c = f32x4.add(c, f32x4.mul(y, v128.load(column, 32)));
      d = f32x4.add(d, f32x4.mul(y, v128.load(column, 48)));
    }
    v128.store(out, finite(a));
    v128.store(out, finite(b), 16);
    v128.store(out, finite(c), 32);
    v128.store(out, finite(d), 48);
  }
}

/** v − v is 0 exactly where v is finite. */
// @ts-ignore: decorator
@inline
function finite(v: v128): v128 {
  return v128.and(v, f32x4.eq(f32x4.sub(v, v), f32x4.splat(0)));
}
