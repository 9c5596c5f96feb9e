/** A worker thread of answer-pool.ts: has layers, answers parts of queries. */
import { parentPort, workerData } from "node:worker_threads";
import { loadLayers } from "../../provider/served-adapter.ts";
import type { WorkerLayers, WorkerReply, WorkerRequest } from "./answer-pool.ts";

const adapters = (workerData as WorkerLayers).map((inputs) => {
  const layers = loadLayers(inputs);
  // They are in the kernels' memory now.
  for (const { weights, padding } of inputs) {
    weights.fill(0);
    padding.fill(0);
  }
  return layers;
});

parentPort?.on("message", ({ adapter, group, vectors, query }: WorkerRequest) => {
  const [reply, transfer] = answer(adapter, group, query, vectors);
  parentPort?.postMessage(reply, transfer);
});

function answer(
  adapter: number,
  group: number,
  query: Uint8Array,
  vectors: number,
): [WorkerReply, ArrayBuffer[]] {
  try {
    const start = performance.now();
    const words = adapters[adapter][group].answerQuery(query, vectors);
    return [{ words, ms: performance.now() - start }, [words.buffer]];
  } catch {
    return [null, []];
  }
}
