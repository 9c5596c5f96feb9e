/** The tables of cos and sin in a graph. */

import type { PassWriter } from "../modules/pass-writer.ts";
import type { Value } from "../onnx-graph.ts";
import { longFrom, type Rope, ropeTables } from "../rope.ts";
import { reshape } from "./reshape.ts";

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

/** Whether contexts can get so long that another table is used for them. */
export function hasLongTable({ given }: PassWriter, { rope }: Rotary): boolean {
  return given.maxPositions > longFrom(rope);
}

/**
 * The rows of the pass's tokens, (tokens, columns) each, of the table for short contexts or of that for long ones. The
 * tables stand on each other, and only in the graph that looks rows up first: they are large.
 */
export function rotaryRows(
  pass: PassWriter,
  { rope, dims }: Rotary,
  columns: number,
): readonly [cos: Value, sin: Value] {
  const { builder, given } = pass;
  return pass.once(`rotary rows ${JSON.stringify([rope, dims, columns])}`, () => {
    const sizes = [longFrom(rope), given.maxPositions];
    const [short, long] = [
      ropeTables(rope, dims, sizes[0], columns, "short"),
      ropeTables(rope, dims, sizes[1], columns, "long"),
    ];
    const [rows] = builder.node(
      "Add",
      [reshape(builder, pass.positions(), ["tokens"]), given.tableStart],
      [{ dims: ["tokens"], type: "int32" }],
    );
    const look = (name: "cos" | "sin"): Value => {
      const both = new Float32Array(short[name].length + long[name].length);
      both.set(short[name]);
      both.set(long[name], short[name].length);
      const table = builder.graph.constant([sizes[0] + sizes[1], columns], both);
      return builder.node("Gather", [table, rows], [{ dims: ["tokens", columns] }], {
        attributes: { axis: 0 },
      })[0];
    };
    return [look("cos"), look("sin")] as const;
  });
}
