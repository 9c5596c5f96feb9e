/** A seeded adapter under attack with both ends in one process: the provider's layers and its keys, no socket. */
import type { AttackContext } from "../../src/audit/attack.ts";
import { groupView } from "../../src/audit/group-view.ts";
import { Oracle } from "../../src/audit/oracle.ts";
import { seededActivations, seededAdapter, seededSource } from "../../src/audit/seeded-adapter.ts";
import { groupTruth } from "../../src/audit/truth.ts";
import { decodeBundle } from "../../src/bundle/bundle.ts";
import { type CreateBundleInput, type CreatedBundle, createBundle } from "../../src/bundle/create-bundle.ts";
import { readPrivateState } from "../../src/bundle/private-state.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { memoryFileTree } from "../../src/weights/memory-files.ts";
import { type AuditFault, AuditProvider, AuditStore } from "./audit-provider.ts";

const FILE = "private.safetensors";

/** One group of a bundle to attack, and its provider. */
async function providerOf(made: CreatedBundle, group: number, fault?: AuditFault, marks = false) {
  const bundle = await decodeBundle(made.bundle);
  const view = groupView(bundle, group);
  const tree = memoryFileTree({ [FILE]: made.privateState }, "private state");
  const { rootSecret, markSecret, groups } = await readPrivateState(tree, FILE, made.manifest, made.digest);
  const input = {
    parameters: view.parameters,
    bundleId: view.bundleId,
    bundleDigest: made.digest,
    rootSecret,
    ...(marks && { markSecret }),
    groups: groups.map(({ weights }, g) => {
      const { inFeatures } = made.manifest.groups[g];
      return { weights, inFeatures, rows: weights.length / inFeatures };
    }),
  };
  return { bundle, view, start: (store: AuditStore) => new AuditProvider(input, store, fault) };
}

interface TargetOptions {
  readonly rank?: number;
  readonly seed?: number;
  readonly maxQueries?: number;
  readonly fault?: AuditFault;
  readonly marks?: boolean;
}

export async function auditTarget(n: number, options: TargetOptions = {}) {
  const { rank = 4, seed = 1, maxQueries = n, fault, marks } = options;
  const { modules, groups } = seededAdapter(n, rank, seed);
  const input = { adapter: "seeded", baseFingerprint: new Uint8Array(32), groups, modules };
  const activations = seededActivations(n, Math.ceil(1.25 * n), seed + 1);
  return await targetOf(input, { activations, maxQueries, seed, fault, marks });
}

export interface TargetData extends Pick<AttackContext, "activations" | "maxQueries" | "recorded"> {
  readonly group?: number;
  readonly seed?: number;
  readonly fault?: AuditFault | undefined;
  readonly marks?: boolean | undefined;
}

/** A group of any adapter under attack. */
export async function targetOf(input: CreateBundleInput, data: TargetData) {
  const { group = 0, seed = 1, fault, marks, ...given } = data;
  const made = await createBundle(input, systemRandom);
  const first = await providerOf(made, group, fault, marks);
  const second = await providerOf(await createBundle(input, systemRandom), group);
  const { view, bundle } = first;
  const truth = await groupTruth(made, input.modules, view);
  const store = new AuditStore();
  const provider = first.start(store);
  const accounts = new Map<Oracle, string>();
  const open = (at: AuditProvider, account: string, of = view): Oracle => {
    const oracle = new Oracle(of, at.connect(account));
    accounts.set(oracle, account);
    return oracle;
  };
  const context: AttackContext = {
    view,
    truth,
    open: async () => open(provider, `account ${accounts.size}`),
    situations: {
      sameAccount: async (of) => open(provider, accounts.get(of)!),
      replica: async (of) => open(first.start(store), accounts.get(of)!),
      restarted: async (of) => open(first.start(store), accounts.get(of)!),
      otherVersion: async () => open(second.start(new AuditStore()), "account 0", second.view),
    },
    ...given,
    random: seededSource(seed + 2),
  };
  return { context, bundle, provider, view, truth, made };
}
