/** A provider under attack: a bundle in a separate folder, `tacet provider` in its own process, and what attacks need. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AttackContext } from "../../audit/attack.ts";
import { groupView } from "../../audit/group-view.ts";
import { Oracle } from "../../audit/oracle.ts";
import { Recorder, rowsOfDeltas } from "../../audit/recorder.ts";
import type { Activations } from "../../audit/score.ts";
import { seededActivations, seededAdapter } from "../../audit/seeded-adapter.ts";
import { groupTruth } from "../../audit/truth.ts";
import { decodeBundle } from "../../bundle/bundle.ts";
import { type CreateBundleInput, type CreatedBundle, createBundle } from "../../bundle/create-bundle.ts";
import type { OutputMode } from "../../bundle/manifest.ts";
import { RemoteAdapter } from "../../client/remote-adapter.ts";
import { RemoteProvider } from "../../client/remote-provider.ts";
import { CausalLm } from "../../model/causal-lm.ts";
import { fitAdapter } from "../../model/adapter/fit-adapter.ts";
import { nodePlatform } from "../../platform/node.ts";
import { writeStateFolder } from "../../library/node-state-folder.ts";
import { systemRandom } from "../../ring/random-source.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../weights/fingerprint.ts";
import type { LoraAdapter } from "../../weights/lora-adapter.ts";
import { startProvider } from "../shared/provider-process.ts";
import { onExit } from "../shared/interrupt.ts";
import { Progress } from "../shared/progress.ts";

/** Vectors of real text that score a copy, and are not given to attacks. */
const HELD_OUT = 256;
const RANK = 8;

export interface AuditSource {
  /** A model with its adapter, and text as sequences of ids; or an adapter that is made up. */
  readonly model?: {
    readonly checkpoint: Checkpoint;
    readonly adapter: LoraAdapter;
    readonly text: readonly (readonly number[])[];
  };
  readonly seeded?: number;
  readonly name: string;
  readonly output: OutputMode;
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
  const state = mkdtempSync(join(tmpdir(), "tacet-audit-"));
  const removeState = (): void => rmSync(state, { recursive: true, force: true });
  const forget = onExit(removeState);
  chmodSync(state, 0o700);
  await writeStateFolder(state, made);
  const provider = await startProvider(state).catch((error: unknown) => {
    removeState();
    throw error;
  });
  const connections: RemoteProvider[] = [];
  const { baseFingerprint } = input;
  const connectOnce = async (): Promise<RemoteProvider> => {
    const opened = await RemoteProvider.connect(nodePlatform(), {
      url: provider.url,
      baseFingerprint,
      signal,
    });
    connections.push(opened.provider);
    return opened.provider;
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
        ? await recordText(source.model, bundle, await connectOnce(), group, maxQueries + HELD_OUT)
        : { activations: seededActivations(view.inFeatures, maxQueries, 2) };
      return {
        view,
        truth: await groupTruth(made, input.modules, view),
        open: async () => new Oracle(view, await connectOnce()),
        ...data,
        otherHint: async () => (await decodeBundle((await make()).bundle)).groups[group].hint,
        maxQueries,
        random: systemRandom,
        signal: stop,
      };
    },
    async close() {
      for (const connection of connections) connection.close();
      await provider.stop();
      removeState();
      forget();
    },
  };
}

async function bundleInput({ model, seeded, name, output }: AuditSource): Promise<CreateBundleInput> {
  if (model === undefined) {
    const { modules, groups } = seededAdapter(seeded ?? 896, RANK, 1);
    return { adapter: name, baseFingerprint: new Uint8Array(32), groups, modules, output };
  }
  const { checkpoint, adapter } = model;
  return {
    adapter: name,
    baseFingerprint: await fingerprintCheckpoint(checkpoint),
    groups: fitAdapter(adapter, checkpoint),
    modules: adapter.modules,
    output,
  };
}

/** Runs text through the private model, as any client does, and keeps what the client sees of one group. */
async function recordText(
  { checkpoint, text }: NonNullable<AuditSource["model"]>,
  bundle: Awaited<ReturnType<typeof decodeBundle>>,
  provider: RemoteProvider,
  group: number,
  wanted: number,
): Promise<{ activations: Activations[]; recorded: { x: Float32Array; y: Float32Array } }> {
  const remote = new RemoteAdapter(bundle, provider, provider.limits);
  const recorder = new Recorder(remote, [group]);
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { deltas: recorder });
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
