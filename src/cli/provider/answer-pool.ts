/** Worker threads that compute parts of long queries, each with the layers of all adapters in a separate memory. */
import { extname } from "node:path";
import { WorkerPool } from "../../platform/node.ts";
import type { ProviderLayerInput } from "../../pll/provider-layer.ts";
import type { AnswerPart, AnswerPool, Computed, ServedAdapter } from "../../provider/provider.ts";

/** The way to a worker and back takes some 0.1 ms: this is about ten times as much work. */
const LEAST_PRODUCTS = 2 ** 23;

/** By adapter and group. */
export type WorkerLayers = readonly (readonly ProviderLayerInput[])[];

export interface WorkerRequest {
  readonly adapter: number;
  readonly group: number;
  readonly vectors: number;
  readonly query: Uint8Array;
}

/** Null where it failed: what failed is not said, it may hold anything. */
export type WorkerReply = { readonly words: Uint8Array<ArrayBuffer>; readonly ms: number } | null;

/** answer-worker.js when built. */
const SCRIPT = new URL(`./answer-worker${extname(import.meta.url)}`, import.meta.url);

export class ThreadedAnswers implements AnswerPool {
  readonly width: number;
  readonly leastProducts = LEAST_PRODUCTS;
  readonly #adapters: readonly ServedAdapter[];
  readonly #pool: WorkerPool;

  /** @param onDeath a worker has died; the next long query starts another */
  constructor(threads: number, adapters: readonly ServedAdapter[], onDeath: () => void) {
    this.width = threads;
    this.#adapters = adapters;
    const start = () => {
      const data: WorkerLayers = adapters.map(({ layers }) => layers.map((layer) => layer.copyInput()));
      const transfer = data.flat().flatMap(({ weights, padding }) => [weights.buffer, padding.buffer]);
      return { data, transfer: transfer as ArrayBuffer[] };
    };
    this.#pool = new WorkerPool(SCRIPT, threads, start, onDeath);
  }

  async compute({ adapter, group, vectors, query }: AnswerPart): Promise<Computed> {
    // A separate copy: a view would take all of the message with it.
    const copy = query.slice();
    const request: WorkerRequest = { adapter: this.#adapters.indexOf(adapter), group, vectors, query: copy };
    const reply = (await this.#pool.run(request, [copy.buffer as ArrayBuffer])) as WorkerReply;
    if (reply === null) throw new Error("a worker could not answer");
    return reply;
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
