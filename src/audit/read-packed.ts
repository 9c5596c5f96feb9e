/** Reads small unknown columns of [W | P] through packed queries (lattice/packing.ts). */

import { coefficientOf, type Packing, unpackBlock } from "./lattice/packing.ts";
import type { Oracle } from "./oracle.ts";

/**
 * Asks for the columns `places` of [W | P], a block after the other.
 *
 * @param onBlock columns of a block and its values, (R, columns) row-major; called in order, with the queries so far
 */
export async function readPacked(
  oracle: Oracle,
  packing: Packing,
  places: readonly number[],
  onBlock: (columns: readonly number[], values: Float64Array) => void,
): Promise<void> {
  const { unknowns, replies: m, replyBits } = packing;
  const { rows } = oracle.view;
  const unit = 2 ** (32 - replyBits);
  for (let first = 0; first < places.length; first += unknowns) {
    const columns = places.slice(first, first + unknowns);
    // A last block of at most m columns needs a reply for each: unknown i < m stands alone in reply i then.
    const asked = Math.min(m, columns.length);
    const replies = await oracle.ask(asked, (i, words) => {
      for (const [j, place] of columns.entries()) words[place] = unit * coefficientOf(packing, i, j);
    });
    const values = new Float64Array(rows * columns.length);
    for (let r = 0; r < rows; r++) {
      const own = Array.from({ length: m }, (_, i) => (i < asked ? replies[i * rows + r] / unit : 0));
      values.set(unpackBlock(packing, own).subarray(0, columns.length), r * columns.length);
    }
    onBlock(columns, values);
  }
}
