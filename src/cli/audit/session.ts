/** A provider under attack, and what attacks need of it. */
import type { AttackContext } from "../../audit/attack.ts";
import { groupView } from "../../audit/group-view.ts";
import { Oracle } from "../../audit/oracle.ts";
import { Recorder, rowsOfDeltas } from "../../audit/recorder.ts";
import type { Activations } from "../../audit/score.ts";
import { seededActivations, seededAdapter } from "../../audit/seeded-adapter.ts";
import { groupTruth } from "../../audit/truth.ts";
import type { TensorRuntime } from "../../base/platform.ts";
import { type Bundle, decodeBundle } from "../../bundle/bundle.ts";
import { type CreateBundleInput, type CreatedBundle, createBundle } from "../../bundle/create-bundle.ts";
import { RemoteAdapter } from "../../client/remote-adapter.ts";
import { RemoteProvider } from "../../client/remote-provider.ts";
import { fitAdapter } from "../../model/adapter/fit-adapter.ts";
import { CausalLm } from "../../model/causal-lm.ts";
import { nodePlatform } from "../../platform/node.ts";
import { PART_NAMES } from "../../bundle/published-parts.ts";
import { systemRandom } from "../../ring/random-source.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../weights/fingerprint.ts";
import type { LoraAdapter } from "../../weights/lora-adapter.ts";
import { Progress } from "../shared/progress.ts";
import { ServedBundle } from "./served-bundle.ts";

/** Vectors of real text that score a copy, and are not given to attacks. */
const HELD_OUT = 256;
const RANK = 8;

export interface AuditSource {
  /** A model with its adapter, and text as sequences of ids; or an adapter that is made up. */
  readonly model?: {
    readonly checkpoint: Checkpoint;
    readonly adapter: LoraAdapter;
    readonly text: readonly (readonly number[])[];
    /** What the model runs on. */
    readonly runtime: TensorRuntime;
  };
  readonly seeded?: number;
  readonly name: string;
}

export interface AuditSession {
  readonly made: CreatedBundle;
  /** All that attacks on one group need. @param maxQueries by default 1.25·n */
  contextOf(group: number, maxQueries: number | undefined, signal: AbortSignal): Promise<AttackContext>;
  /** Connections that were opened so far. */
  readonly accounts: number;
  close(): Promise<void>;
}

export async function openAuditSession(source: AuditSource, signal: AbortSignal): Promise<AuditSession> {
  const input = await bundleInput(source);
  const make = () =>
    Progress.during("making the bundle", (update) =>
      createBundle(input, systemRandom, (done, total) => {
        update(done / total);
        signal.throwIfAborted();
      }),
    );
  const made = await make();
  const bundle = await decodeBundle(made.bundle);
  const served = await ServedBundle.start(made);
  /** Another bundle of the same adapter, where an attack wants one. */
  let other: { readonly served: ServedBundle; readonly bundle: Bundle } | undefined;
  const connections: RemoteProvider[] = [];
  const connect = async (to: ServedBundle, token = to.newToken()): Promise<RemoteProvider> => {
    const { baseFingerprint } = input;
    const options = { url: to.url, baseFingerprint, token, signal };
    const { provider } = await RemoteProvider.connect(nodePlatform(), options);
    connections.push(provider);
    return provider;
  };
  return {
    made,
    get accounts() {
      return connections.length;
    },
    async contextOf(group, wanted, stop) {
      const view = groupView(bundle, group);
      const maxQueries = wanted ?? Math.ceil(1.25 * view.inFeatures);
      const data = source.model
        ? await recordText(source.model, bundle, await connect(served), group, maxQueries + HELD_OUT)
        : { activations: seededActivations(view.inFeatures, maxQueries, 2) };
      const tokens = new Map<Oracle, string>();
      const open = async (token = served.newToken()) => {
        const oracle = new Oracle(view, await connect(served, token));
        tokens.set(oracle, token);
        return oracle;
      };
      return {
        view,
        truth: await groupTruth(made, input.modules, view),
        open: () => open(),
        situations: {
          sameAccount: (of) => open(tokens.get(of)),
          restarted: async (of) => {
            await served.restart();
            return await open(tokens.get(of));
          },
          otherVersion: async () => {
            if (other === undefined) {
              const version = await make();
              other = {
                served: await ServedBundle.start(version),
                bundle: await decodeBundle(version.bundle),
              };
            }
            return new Oracle(groupView(other.bundle, group), await connect(other.served));
          },
        },
        ...data,
        maxQueries,
        random: systemRandom,
        signal: stop,
      };
    },
    async close() {
      for (const connection of connections) connection.close();
      await served.stop();
      await other?.served.stop();
    },
  };
}

async function bundleInput({ model, seeded, name }: AuditSource): Promise<CreateBundleInput> {
  if (model === undefined) {
    const { modules, groups } = seededAdapter(seeded ?? 896, RANK, 1);
    return { adapter: name, baseFingerprint: new Uint8Array(32), groups, modules };
  }
  const { checkpoint, adapter } = model;
  return {
    adapter: name,
    baseFingerprint: await fingerprintCheckpoint(checkpoint),
    ...(await fitAdapter(adapter, checkpoint)),
    // The audit shows them to nobody but itself.
    publish: PART_NAMES,
  };
}

/** Runs text through the private model, as any client does, and keeps what the client sees of one group. */
async function recordText(
  { checkpoint, text, runtime }: NonNullable<AuditSource["model"]>,
  bundle: Bundle,
  provider: RemoteProvider,
  group: number,
  wanted: number,
): Promise<{ activations: Activations[]; recorded: { x: Float32Array; y: Float32Array } }> {
  const remote = new RemoteAdapter(bundle, provider, provider.limits);
  const recorder = new Recorder(remote, [group]);
  const model = await CausalLm.load(checkpoint, runtime, { deltas: recorder });
  try {
    await Progress.during("running text", async (update) => {
      for (let tokens = 0, i = 0; tokens < wanted && i < text.length; i++) {
        const cache = model.newCache();
        await model.forward(text[i], cache);
        cache.dispose();
        tokens += text[i].length;
        update(tokens / wanted);
      }
    });
  } finally {
    remote.dispose();
    await model.dispose();
  }
  const { x, deltas, tokens } = recorder.recorded(group);
  const spec = bundle.manifest.groups[group];
  const y = rowsOfDeltas(bundle.groups[group].bases, spec.modules, deltas, tokens);
  const n = spec.inFeatures;
  const rows = y.length / tokens;
  // The last tokens are held out: other sequences than the first ones.
  const seen = tokens - Math.min(HELD_OUT, Math.floor(tokens / 4));
  return {
    activations: [{ name: "text", seen: x.subarray(0, seen * n), heldOut: x.subarray(seen * n) }],
    recorded: { x: x.subarray(0, seen * n), y: y.subarray(0, seen * rows) },
  };
}
