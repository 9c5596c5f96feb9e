// The kernels' figures (bench/kernels.ts) as a section of the results.
import { type BenchOptions, formatMs, markdownTable, type Section } from "./harness.ts";
import { benchKernels } from "./kernels.ts";

export async function run(_options: BenchOptions): Promise<Section[]> {
  const results = await benchKernels();
  const rows = results.map(({ name, microseconds, note }) => [
    name,
    formatMs(microseconds / 1000),
    note ?? "",
  ]);
  return [{ title: "Kernels, single thread", body: markdownTable(["kernel", "time", "note"], rows) }];
}
