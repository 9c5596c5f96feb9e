/**
 * Worker threads that compute parts of long queries and make parts of keys, each with the layers of all adapters in a
 * separate memory.
 */
import { extname } from "node:path";
import { bundleIdBytes } from "../../bundle/manifest.ts";
import { WorkerPool } from "../../platform/node.ts";
import type { GroupMark } from "../../pll/marks.ts";
import type { ProviderLayerInput } from "../../pll/weight-encryption.ts";
import type {
  ComputedReply,
  GroupKey,
  GroupKeyName,
  KeyPart,
  KeyPartTask,
  ReplyPart,
  ReplyPool,
  ServedAdapter,
} from "../../provider/provider.ts";

/** The way to a worker and back takes some 0.1 ms: this is about ten times as much work. */
const LEAST_PRODUCTS = 2 ** 23;

/** What a worker has of an adapter. */
export interface WorkerAdapter {
  readonly bundleId: Uint8Array;
  readonly bundleDigest: Uint8Array;
  readonly keySigningKey: Uint8Array;
  readonly layers: readonly ProviderLayerInput[];
}

interface Task extends GroupKeyName {
  readonly adapter: number;
  /** Of the group's key. Secret; whoever has it wipes it. */
  readonly seed: Uint8Array;
}

/** A part of a query, or one of a key. */
export type WorkerRequest =
  | (Task & { readonly vectors: number; readonly query: Uint8Array })
  | (Task & {
      readonly keyId: Uint8Array;
      readonly before: readonly Uint8Array[];
      readonly mark: GroupMark | undefined;
    });

/** What a worker is sent: a request, which it answers, or a key that is worn out. */
export type WorkerMessage = WorkerRequest | { readonly forget: GroupKeyName };

/** Null where it failed: what failed is not said, it may hold anything. */
export type WorkerReply = ComputedReply | KeyPart | null;

/** reply-worker.js when built. */
const SCRIPT = new URL(`./reply-worker${extname(import.meta.url)}`, import.meta.url);

export class ThreadedReplyPool implements ReplyPool {
  readonly width: number;
  readonly leastProducts = LEAST_PRODUCTS;
  readonly #adapters: readonly ServedAdapter[];
  readonly #pool: WorkerPool;

  /** @param onDeath a worker has died; the next long query or key starts another */
  constructor(threads: number, adapters: readonly ServedAdapter[], onDeath: () => void) {
    this.width = threads;
    this.#adapters = adapters;
    const start = () => {
      const data = adapters.map(
        ({ bundle, keySigningKey, layers }): WorkerAdapter => ({
          bundleId: bundleIdBytes(bundle.manifest),
          bundleDigest: bundle.digest,
          keySigningKey,
          layers: layers.map((layer) => layer.copyInput()),
        }),
      );
      const transfer = data.flatMap(({ layers }) =>
        layers.map(({ weights }) => weights.buffer as ArrayBuffer),
      );
      return { data, transfer };
    };
    this.#pool = new WorkerPool(SCRIPT, threads, start, onDeath);
  }

  async compute({ adapter, group, vectors, query, key }: ReplyPart): Promise<ComputedReply> {
    // A separate copy: a view would take all of the message with it.
    const copy = query.slice();
    const task = { ...this.#task(adapter, group, key), vectors, query: copy };
    return (await this.#run(task, [copy.buffer as ArrayBuffer])) as ComputedReply;
  }

  async makeKeyPart({ adapter, group, keyId, before, key }: KeyPartTask): Promise<KeyPart> {
    const mark = key.mark?.();
    const task = { ...this.#task(adapter, group, key), keyId, before, mark };
    return (await this.#run(task, [])) as KeyPart;
  }

  forget({ name, group }: GroupKeyName): void {
    this.#pool.tell({ forget: { name, group } } satisfies WorkerMessage);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  #task(adapter: ServedAdapter, group: number, key: GroupKey): Task {
    return { adapter: this.#adapters.indexOf(adapter), name: key.name, group, seed: key.seed() };
  }

  /** Hands the seed over: no copy of it stays here, also where no worker takes it. */
  async #run(request: WorkerRequest, transfer: ArrayBuffer[]): Promise<ComputedReply | KeyPart> {
    const { seed } = request;
    let running: Promise<unknown>;
    try {
      running = this.#pool.run(request, [...transfer, seed.buffer as ArrayBuffer]);
    } finally {
      if (seed.length > 0) seed.fill(0);
    }
    const reply = (await running) as WorkerReply;
    if (reply === null) throw new Error("a worker could not compute");
    return reply;
  }
}
