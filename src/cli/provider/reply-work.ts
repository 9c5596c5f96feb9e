/** What a worker thread of reply-pool.ts does with a request: answers parts of queries, makes parts of keys. */
import { nodeSha256, nodeSignEd25519 } from "../../platform/node.ts";
import type { LayerSecret } from "../../pll/secret-stream.ts";
import { type KeyPartMaker, makeKeyPart } from "../../provider/key-part.ts";
import { LayerSecrets } from "../../provider/layer-secrets.ts";
import { loadLayers } from "../../provider/served-adapter.ts";
import type { WorkerAdapter, WorkerReply, WorkerRequest } from "./reply-pool.ts";

const TOOLS = { sha256: nodeSha256, signEd25519: nodeSignEd25519 };

export class ReplyWork {
  /** S of the keys that are in use in this thread. */
  readonly secrets = new LayerSecrets();
  readonly #adapters: readonly KeyPartMaker[];

  /** @throws RangeError if kernel memory cannot hold the layers */
  constructor(adapters: readonly WorkerAdapter[]) {
    this.#adapters = adapters.map(({ layers: inputs, ...adapter }) => {
      const layers = loadLayers(adapter.bundleId, inputs);
      return { ...adapter, layers };
    });
  }

  /** The reply, and what of it is handed over instead of copied. The request's seed is wiped. */
  do(request: WorkerRequest): [WorkerReply, ArrayBuffer[]] {
    try {
      return this.#compute(request);
    } catch {
      return [null, []];
    } finally {
      request.seed.fill(0);
    }
  }

  #compute(request: WorkerRequest): [WorkerReply, ArrayBuffer[]] {
    const { adapter, name, group, seed } = request;
    if ("keyId" in request) {
      const { mark } = request;
      const part = makeKeyPart(this.#adapters[adapter], request, seed, { mark, ...TOOLS });
      return [part, [part.weights.buffer as ArrayBuffer, part.hint.buffer as ArrayBuffer]];
    }
    const start = performance.now();
    const layer = this.#adapters[adapter].layers[group];
    const { query, vectors } = request;
    const key = { name, group, seed: () => seed.slice() };
    const answer = (secret: LayerSecret) => layer.answerQuery(secret, query, vectors);
    const words = this.secrets.use(layer, key, answer, seed);
    return [{ words, ms: performance.now() - start }, [words.buffer]];
  }
}
