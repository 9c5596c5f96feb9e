/** The tables of cos and sin in a graph. */

import type { PassWriter } from "../modules/pass-writer.ts";
import { type Rope, ropeTables } from "../rope.ts";

export interface Rotary {
  readonly rope: Rope;
  /** Entries of each head, from its first on, that are turned; even. */
  readonly dims: number;
  /** Which are turned together: (i, i + dims/2), or (2i, 2i + 1). */
  readonly pairs: "halves" | "neighbours";
}

/** One pair of tables for all layers of a graph that turn alike: (positions, columns) each. */
export function rotaryTables(
  pass: PassWriter,
  { rope, dims }: Rotary,
  columns: number,
): readonly [cos: string, sin: string] {
  const name = `rotary ${JSON.stringify([rope, dims, columns])}`;
  const { maxPositions } = pass.given;
  const { cos, sin } = pass.once(name, () => ropeTables(rope, dims, maxPositions, columns));
  const { graph } = pass.builder;
  const shape = [maxPositions, columns];
  return pass.onceInGraph(name, () => [graph.constant(shape, cos), graph.constant(shape, sin)]);
}
