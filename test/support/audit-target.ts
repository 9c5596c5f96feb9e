/** A seeded adapter under attack with both ends in one process: the provider's step, no socket. */
import type { AttackContext } from "../../src/audit/attack.ts";
import { groupView } from "../../src/audit/group-view.ts";
import { Oracle } from "../../src/audit/oracle.ts";
import { seededActivations, seededAdapter, seededSource } from "../../src/audit/seeded-adapter.ts";
import { groupTruth } from "../../src/audit/truth.ts";
import { decodeBundle } from "../../src/bundle/bundle.ts";
import { createBundle } from "../../src/bundle/create-bundle.ts";
import type { OutputMode } from "../../src/bundle/manifest.ts";
import type { QueryTransport } from "../../src/client/remote-adapter.ts";
import { ProviderLayer } from "../../src/pll/provider-layer.ts";
import { Kernels } from "../../src/ring/kernels.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { BufferPool } from "../../src/rlwe/buffer-pool.ts";

export async function auditTarget(
  n: number,
  { rank = 4, seed = 1, maxQueries = n, output = "public-basis" as OutputMode } = {},
) {
  const { modules, groups } = seededAdapter(n, rank, seed);
  const input = {
    adapter: "seeded",
    baseFingerprint: new Uint8Array(32),
    groups,
    modules,
    output,
  } as const;
  const made = await createBundle(input, systemRandom);
  const other = await createBundle(input, systemRandom);
  const bundle = await decodeBundle(made.bundle);
  const view = groupView(bundle, 0);
  const truth = await groupTruth(made, modules, view);
  const kernels = Kernels.load();
  const layer = new ProviderLayer(kernels, new BufferPool(kernels), {
    parameters: view.parameters,
    rows: view.rows,
    inFeatures: n,
    weights: truth.integers,
    padding: truth.padding,
  });
  const transport: QueryTransport = {
    query: async (_group, vectors, ciphertext) => ({
      words: layer.answerQuery(ciphertext, vectors),
      providerMs: 0,
    }),
  };
  const context: AttackContext = {
    view,
    truth,
    open: async () => new Oracle(view, transport),
    activations: seededActivations(n, Math.ceil(1.25 * n), seed + 1),
    otherHint: async () => (await decodeBundle(other.bundle)).groups[0].hint,
    maxQueries,
    random: seededSource(seed + 2),
  };
  return { context, layer, view, truth, transport };
}
