/** One run of a segment, for a pass or for several. */

import type { Tensor } from "../../base/platform.ts";
import { isLoraName } from "../graph/lora-inputs.ts";
import type { LoadedSegment } from "./loaded-model.ts";
import type { SegmentPass } from "./segment-pass.ts";

type Tensors = Readonly<Record<string, Tensor>>;

/** Runs a segment for one pass. @throws TacetError internal if the runtime fails; whatever the pass fails with */
export async function runAlone(segment: LoadedSegment, pass: SegmentPass): Promise<void> {
  pass.take(segment, await segment.session.run(pass.feedsOf(segment)));
}

/**
 * Runs a segment for several passes of which it makes row after row (`isByRow`).
 * @returns for each pass what it failed with by itself, which is no matter to the others; undefined: it has its results
 * @throws TacetError internal if the runtime fails; then none of them has been given anything
 */
export async function runTogether(
  segment: LoadedSegment,
  passes: readonly SegmentPass[],
): Promise<readonly (unknown | undefined)[]> {
  const { session, inputs, outputs } = segment;
  const failures: unknown[] = passes.map(() => undefined);
  const of = <T>(pass: number, work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      failures[pass] = error ?? new TypeError("a pass failed without a reason");
      return undefined;
    }
  };
  const each = passes.map((pass, i) => of(i, () => pass.feedsOf(segment)));
  const given = each.filter((feeds) => feeds !== undefined);
  if (given.length === 0) return failures;
  const joined: Record<string, Tensor> = {};
  for (const { name } of inputs)
    joined[name] = isLoraName(name) ? given[0][name] : joinRows(given.map((feeds) => feeds[name]));
  const results = await session.run(joined);
  const counted = inputs.find(({ name }) => !isLoraName(name))!.name;
  let at = 0;
  for (const [i, pass] of passes.entries()) {
    const feeds = each[i];
    if (feeds === undefined) continue;
    const rows = feeds[counted].dims[1];
    const first = at;
    at += rows;
    of(i, () => {
      const own = outputs.map(({ name }) => [name, takeRows(results[name], first, rows)]);
      pass.take(segment, Object.fromEntries(own) as Tensors);
    });
  }
  return failures;
}

/** (1, rows, …) of each → (1, Σ rows, …) */
function joinRows(tensors: readonly Tensor[]): Tensor {
  const [{ type, dims }] = tensors;
  const entries = tensors.reduce((sum, { data }) => sum + data.length, 0);
  const rows = tensors.reduce((sum, tensor) => sum + tensor.dims[1], 0);
  // Beside activations there are only the ids.
  const data = type === "int64" ? new BigInt64Array(entries) : new Float32Array(entries);
  let at = 0;
  for (const tensor of tensors) {
    data.set(tensor.data as Float32Array & BigInt64Array, at);
    at += tensor.data.length;
  }
  return { type, dims: [1, rows, ...dims.slice(2)], data };
}

/** (1, all, …) → (1, rows, …), copied: passes write into what they are given. */
function takeRows({ type, dims, data }: Tensor, first: number, rows: number): Tensor {
  const width = data.length / dims[1];
  const own = data.slice(first * width, (first + rows) * width);
  return { type, dims: [1, rows, ...dims.slice(2)], data: own };
}
