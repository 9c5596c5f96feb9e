// One engine in its process: loads it, says how long that took, then does what it is told, and times it.
import { peakMemory } from "../provider-process.ts";
import { type Engine, type EngineFacts, type EngineName, type EngineSource, openEngine } from "./engines.ts";
import type { PhaseProfile } from "./profile.ts";

export type Order =
  | { readonly kind: "load"; readonly name: EngineName; readonly source: EngineSource }
  /** Reads `prompt` in a new context, then `steps` one by one. */
  | { readonly kind: "turn"; readonly prompt: readonly number[]; readonly steps: readonly number[] }
  /** Instead of loading and turns. */
  | {
      readonly kind: "profile";
      readonly name: EngineName;
      readonly source: EngineSource;
      readonly prompt: readonly number[];
      readonly steps: readonly number[];
    }
  | { readonly kind: "end" };

/** Milliseconds and bytes. */
export type Reply =
  | { readonly kind: "load"; readonly ms: number }
  | { readonly kind: "turn"; readonly prompt: number; readonly steps: readonly number[] }
  | { readonly kind: "profile"; readonly phases: readonly PhaseProfile[] }
  | { readonly kind: "end"; readonly peak: number; readonly facts: EngineFacts }
  | { readonly kind: "failed"; readonly message: string };

let engine: Engine | undefined;

async function obey(order: Order): Promise<Reply> {
  const start = performance.now();
  const clock = async (work: Promise<void>) => {
    const before = performance.now();
    await work;
    return performance.now() - before;
  };
  if (order.kind === "load") {
    engine = await openEngine(order.name, order.source);
    // What is only mapped is read with the first token.
    await engine.prompt([1]);
    return { kind: "load", ms: performance.now() - start };
  }
  if (order.kind === "profile") {
    const { profileEngine } = await import("./profile.ts");
    const open = () => openEngine(order.name, order.source);
    return { kind: "profile", phases: await profileEngine(open, order.prompt, order.steps) };
  }
  if (order.kind === "end") return { kind: "end", peak: peakMemory(process.pid), facts: engine!.facts() };
  await engine!.rest();
  const prompt = await clock(engine!.prompt(order.prompt));
  await engine!.rest();
  const steps: number[] = [];
  for (const id of order.steps) steps.push(await clock(engine!.step(id)));
  // Whose turn is next shall not share the machine with it.
  await engine!.rest();
  return { kind: "turn", prompt, steps };
}

process.on("message", (order: Order) => {
  obey(order)
    .catch((error: Error): Reply => ({ kind: "failed", message: error.stack ?? error.message }))
    .then((reply) => {
      process.send!(reply, () => {
        if (order.kind === "end") process.exit(0);
      });
    });
});
