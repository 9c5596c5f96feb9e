/** One model, loaded twice (the second time from what the browser keeps), and its passes. */
import type { Figures, Wishes } from "./figures.ts";
import { loadOrt } from "../../app/ort.ts";
import { CausalLm, openCheckpoint } from "../../src/entry/model.ts";
import { loadWebFolder, webPlatform } from "../../src/platform/web.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<Wishes>) => void) | null;
  postMessage(figures: Figures): void;
};
scope.onmessage = ({ data }) => {
  void measure(data)
    .catch((error: unknown): Figures => ({ error: String(error) }))
    .then((figures) => scope.postMessage(figures));
};

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  return [await work(), performance.now() - start];
}

async function measure({ folder, device, weights, promptTokens, decodeTokens }: Wishes): Promise<Figures> {
  const { ort, hostOrt } = await loadOrt(device, new URL("/", location.href).href);
  const [tree, fetchMs] = await timed(() => loadWebFolder(folder));
  const checkpoint = await openCheckpoint(tree);
  const { tensors, weightCache } = webPlatform(ort, { device, hostOrt });
  const load = () => CausalLm.load(checkpoint, tensors, { weights, weightCache });
  const [first, firstLoadMs] = await timed(load);
  await first.dispose();
  const [model, loadMs] = await timed(load);
  const ids = (count: number): number[] => Array.from({ length: count }, (_, i) => (17 * i + 5) % 1000);
  const cache = model.newCache(promptTokens + decodeTokens + 2);
  await model.forward(ids(1), cache); // compiles what it has to
  const [, promptMs] = await timed(() => model.forward(ids(promptTokens), cache));
  await model.forward(ids(1), cache);
  const [, allMs] = await timed(async () => {
    for (let i = 0; i < decodeTokens; i++) await model.forward([i + 3], cache);
  });
  return {
    threads: ort.env.wasm.numThreads ?? 1,
    fetchMs,
    firstLoadMs,
    loadMs,
    promptMs,
    tokenMs: allMs / decodeTokens,
  };
}
