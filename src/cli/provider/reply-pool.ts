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

interface Task {
  readonly adapter: number;
  readonly group: number;
  /** Of the group's key. */
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
    const task = { ...this.#task(adapter, group, key.seed()), vectors, query: copy };
    return (await this.#run(task, [copy.buffer as ArrayBuffer])) as ComputedReply;
  }

  async makeKeyPart({ adapter, group, keyId, before, key }: KeyPartTask): Promise<KeyPart> {
    const task = { ...this.#task(adapter, group, key.seed()), keyId, before, mark: key.mark?.() };
    return (await this.#run(task, [])) as KeyPart;
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  #task(adapter: ServedAdapter, group: number, seed: Uint8Array): Task {
    return { adapter: this.#adapters.indexOf(adapter), group, seed };
  }

  /** Hands the seed over: no copy of it stays here. */
  async #run(request: WorkerRequest, transfer: ArrayBuffer[]): Promise<ComputedReply | KeyPart> {
    const seed = request.seed.buffer as ArrayBuffer;
    const reply = (await this.#pool.run(request, [...transfer, seed])) as WorkerReply;
    if (reply === null) throw new Error("a worker could not compute");
    return reply;
  }
}
