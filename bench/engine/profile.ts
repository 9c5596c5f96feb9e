// Where the time of a step and of a prompt goes: ONNX Runtime's own profile, summed by operator, and V8's, summed by
// function, beside what a forward pass takes as a whole. Profiling takes time too: shares are to be read, not sums.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InferenceSession } from "onnxruntime-common";
import * as ort from "onnxruntime-node";
import { type FunctionTime, sampleFunctions } from "./cpu-profile.ts";
import type { Engine } from "./engines.ts";

export interface PhaseProfile {
  readonly phase: string;
  /** Milliseconds of one forward pass: all of it, in runs of sessions, in operators. */
  readonly wallMs: number;
  readonly runMs: number;
  /** How many runs of sessions it takes. */
  readonly runs: number;
  /** Of the main thread, ONNX Runtime included as far as it runs there. */
  readonly functions: readonly FunctionTime[];
  readonly operators: readonly { readonly name: string; readonly calls: number; readonly ms: number }[];
}

/** Of ONNX Runtime's trace; microseconds. */
interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly args: {
    readonly op_name?: string;
    readonly output_type_shape?: readonly Record<string, number[]>[];
  };
}

/** Phases of the runs of one session, in order. */
interface Profiled {
  readonly session: InferenceSession;
  readonly prefix: string;
  readonly phases: (string | undefined)[];
}

/**
 * Profiles the sessions that are made from now on.
 * @param open makes the engine
 */
export async function profileEngine(
  open: () => Promise<Engine>,
  prompt: readonly number[],
  steps: readonly number[],
): Promise<PhaseProfile[]> {
  const folder = mkdtempSync(join(tmpdir(), "tacet-profile-"));
  try {
    let phase: string | undefined;
    const sessions = profileSessions(folder, () => phase);
    const engine = await open();
    const wall = new Map<string, number[]>();
    const during = async (name: string, work: () => Promise<unknown>) => {
      await engine.rest();
      phase = name;
      const start = performance.now();
      await work();
      wall.set(name, [...(wall.get(name) ?? []), performance.now() - start]);
      phase = undefined;
    };
    await engine.prompt(prompt);
    for (const id of steps) await engine.step(id);
    const functions = new Map<string, FunctionTime[]>();
    const phases: [string, () => Promise<unknown>, number][] = [
      [`a prompt of ${prompt.length}`, () => engine.prompt(prompt), 3],
      ["a token", () => engine.step(steps[0]), steps.length],
    ];
    for (const [name, work, times] of phases) {
      await engine.rest();
      const stop = await sampleFunctions();
      for (let i = 0; i < times; i++) await during(name, work);
      functions.set(
        name,
        (await stop()).map((each) => ({ ...each, ms: each.ms / times })),
      );
    }
    for (const { session } of sessions) session.endProfiling();
    const events = sessions.map((each) => ({ ...each, trace: readTrace(folder, each.prefix) }));
    return [...wall].map(([name, times]) => ({
      ...summarize(name, times, events),
      functions: functions.get(name)!,
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function profileSessions(folder: string, phase: () => string | undefined): Profiled[] {
  const sessions: Profiled[] = [];
  const create = ort.InferenceSession.create as (...args: unknown[]) => Promise<InferenceSession>;
  const profiled = async (model: unknown, options: InferenceSession.SessionOptions) => {
    const prefix = `session-${sessions.length}-`;
    const profile = { enableProfiling: true, profileFilePrefix: join(folder, prefix) };
    const session = await create.call(ort.InferenceSession, model, { ...options, ...profile });
    const phases: (string | undefined)[] = [];
    const run = session.run.bind(session) as (...args: unknown[]) => ReturnType<InferenceSession["run"]>;
    session.run = (...args: unknown[]) => {
      phases.push(phase());
      return run(...args);
    };
    sessions.push({ session, prefix, phases });
    return session;
  };
  (ort.InferenceSession as { create: unknown }).create = profiled;
  return sessions;
}

function readTrace(folder: string, prefix: string): readonly TraceEvent[] {
  const name = readdirSync(folder).find((each) => each.startsWith(prefix));
  if (name === undefined) throw new Error("ONNX Runtime has written no profile");
  return JSON.parse(readFileSync(join(folder, name), "utf8")) as TraceEvent[];
}

function summarize(
  phase: string,
  wall: readonly number[],
  sessions: readonly (Profiled & { trace: readonly TraceEvent[] })[],
): Omit<PhaseProfile, "functions"> {
  const operators = new Map<string, { calls: number; us: number }>();
  let [runs, runUs] = [0, 0];
  for (const { trace, phases } of sessions) {
    const modelRuns = trace.filter(({ name }) => name === "model_run").sort((a, b) => a.ts - b.ts);
    const wanted = modelRuns.filter((_, i) => phases[i] === phase);
    runs += wanted.length;
    runUs += wanted.reduce((sum, { dur }) => sum + dur, 0);
    const kernels = trace.filter(({ cat, name }) => cat === "Node" && name.endsWith("_kernel_time"));
    kernels.sort((a, b) => a.ts - b.ts);
    let at = 0;
    for (const { ts, dur } of wanted) {
      while (at < kernels.length && kernels[at].ts < ts) at++;
      for (; at < kernels.length && kernels[at].ts <= ts + dur; at++) {
        const name = operatorName(kernels[at]);
        const sum = operators.get(name) ?? { calls: 0, us: 0 };
        operators.set(name, { calls: sum.calls + 1, us: sum.us + kernels[at].dur });
      }
    }
  }
  const passes = wall.length;
  return {
    phase,
    wallMs: wall.reduce((sum, ms) => sum + ms, 0) / passes,
    runMs: runUs / 1000 / passes,
    runs: runs / passes,
    operators: [...operators]
      .map(([name, { calls, us }]) => ({ name, calls: calls / passes, ms: us / 1000 / passes }))
      .sort((a, b) => b.ms - a.ms),
  };
}

/** Products by how wide they are: "MatMulNBits → 4864". */
function operatorName({ args }: TraceEvent): string {
  const name = args.op_name ?? "?";
  if (!/MatMul|Gemm/.test(name)) return name;
  const [shape] = Object.values(args.output_type_shape?.[0] ?? {});
  return shape === undefined ? name : `${name} → ${shape[shape.length - 1]}`;
}
