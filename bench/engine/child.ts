// One engine in its process: loads it, says how long that took, then does what it is told, and times it.
import { collectLessOften } from "../../src/platform/node/heap.ts";
import { peakMemory } from "../provider-process.ts";
import {
  type Counters,
  type Engine,
  type EngineFacts,
  type EngineName,
  type EngineSource,
  openEngine,
} from "./engines.ts";
import type { PhaseProfile } from "./profile.ts";

// As the command line has it.
collectLessOften();

export type Order =
  | { readonly kind: "load"; readonly name: EngineName; readonly source: EngineSource }
  /** Reads `prompt` in a new context, then `steps` one by one. */
  | {
      readonly kind: "turn";
      readonly prompt: readonly number[];
      readonly steps: readonly number[];
      readonly wantsLogits: boolean;
    }
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
  | ({ readonly kind: "turn" } & Turn)
  | { readonly kind: "profile"; readonly phases: readonly PhaseProfile[] }
  | { readonly kind: "end"; readonly peak: number; readonly facts: EngineFacts }
  | { readonly kind: "failed"; readonly message: string };

export interface Turn {
  readonly prompt: number;
  readonly steps: readonly number[];
  /** What the steps added to the counters. */
  readonly spent: Counters;
  /** Of the steps, where they are wanted and to be had. */
  readonly logits: readonly Float32Array[];
}

let engine: Engine | undefined;

async function obey(order: Order): Promise<Reply> {
  if (order.kind === "load") {
    const start = performance.now();
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
  return { kind: "turn", ...(await takeTurn(engine!, order)) };
}

async function takeTurn(
  engine: Engine,
  { prompt, steps, wantsLogits }: Extract<Order, { kind: "turn" }>,
): Promise<Turn> {
  const logits: Float32Array[] = [];
  const clock = async (work: () => ReturnType<Engine["step"]>) => {
    const start = performance.now();
    const result = await work();
    const elapsed = performance.now() - start;
    if (wantsLogits && result) logits.push(result);
    return elapsed;
  };
  await engine.rest();
  const promptMs = await clock(() => engine.prompt(prompt));
  await engine.rest();
  const before = engine.counters();
  const stepsMs: number[] = [];
  for (const id of steps) stepsMs.push(await clock(() => engine.step(id)));
  const after = engine.counters();
  // Whose turn is next shall not share the machine with it.
  await engine.rest();
  return { prompt: promptMs, steps: stepsMs, spent: difference(after, before), logits };
}

function difference(after: Counters, before: Counters): Counters {
  const names = Object.keys(after) as (keyof Counters)[];
  return Object.fromEntries(names.map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)]));
}

// The bench has ended, however it did.
process.once("disconnect", () => process.exit());
process.on("message", (order: Order) => {
  obey(order)
    .catch((error: Error): Reply => ({ kind: "failed", message: error.stack ?? error.message }))
    .then((reply) => {
      process.send!(reply, () => {
        if (order.kind === "end") process.exit(0);
      });
    });
});
