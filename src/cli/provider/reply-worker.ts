/** A worker thread of reply-pool.ts: has layers, answers parts of queries, makes parts of keys. */
import { parentPort, workerData } from "node:worker_threads";
import { toHex } from "../../base/bytes.ts";
import { nodeSha256, nodeSignEd25519 } from "../../platform/node.ts";
import type { LayerSecret } from "../../pll/secret-stream.ts";
import { makeKeyPart } from "../../provider/key-part.ts";
import { LayerSecrets } from "../../provider/layer-secrets.ts";
import { loadLayers } from "../../provider/served-adapter.ts";
import type { WorkerAdapter, WorkerReply, WorkerRequest } from "./reply-pool.ts";

const TOOLS = { sha256: nodeSha256, signEd25519: nodeSignEd25519 };
const secrets = new LayerSecrets();
const adapters = (workerData as readonly WorkerAdapter[]).map(({ layers: inputs, ...adapter }) => {
  const layers = loadLayers(adapter.bundleId, inputs);
  return { ...adapter, layers };
});

parentPort?.on("message", (request: WorkerRequest) => {
  const [reply, transfer] = compute(request);
  request.seed.fill(0);
  parentPort?.postMessage(reply, transfer);
});

function compute(request: WorkerRequest): [WorkerReply, ArrayBuffer[]] {
  try {
    const { adapter, group, seed } = request;
    if ("keyId" in request) {
      const { mark } = request;
      const part = makeKeyPart(adapters[adapter], request, seed, { mark, ...TOOLS });
      return [part, [part.weights.buffer as ArrayBuffer, part.hint.buffer as ArrayBuffer]];
    }
    const start = performance.now();
    const layer = adapters[adapter].layers[group];
    const { query, vectors } = request;
    // Every seed is another key's, of one group of one adapter.
    const key = { name: toHex(seed), group, seed: () => seed.slice() };
    const answer = (secret: LayerSecret) => layer.answerQuery(secret, query, vectors);
    const words = secrets.use(layer, key, answer, { vectors });
    return [{ words, ms: performance.now() - start }, [words.buffer]];
  } catch {
    return [null, []];
  }
}
