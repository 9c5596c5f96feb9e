// What the main thread does outside ONNX Runtime: V8's sampling profile, summed by function.
import { Session } from "node:inspector/promises";

export interface FunctionTime {
  /** "forwardNtt (ring/kernels.ts)"; "(idle)" is waiting, for other threads too. */
  readonly name: string;
  readonly ms: number;
}

/** Microseconds between samples. */
const INTERVAL = 200;

/** Samples from now on. The function that it gives ends that, and sums. */
export async function sampleFunctions(): Promise<() => Promise<FunctionTime[]>> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: INTERVAL });
  await session.post("Profiler.start");
  return async () => {
    const { profile } = await session.post("Profiler.stop");
    session.disconnect();
    const names = new Map(
      profile.nodes.map(({ id, callFrame: { functionName, url } }) => [id, functionTitle(functionName, url)]),
    );
    const sums = new Map<string, number>();
    for (const [i, id] of (profile.samples ?? []).entries()) {
      const name = names.get(id)!;
      sums.set(name, (sums.get(name) ?? 0) + (profile.timeDeltas?.[i] ?? 0) / 1000);
    }
    return [...sums].map(([name, ms]) => ({ name, ms })).sort((a, b) => b.ms - a.ms);
  };
}

function functionTitle(name: string, url: string): string {
  const place = url.split("/").slice(-2).join("/");
  return `${name || "(anonymous)"}${place === "" ? "" : ` (${place})`}`;
}
