// The bench's side of a process that runs one engine.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { nextMessage } from "../child-message.ts";
import { WITH_TYPESCRIPT } from "../harness.ts";
import type { Order, Reply, Turn } from "./child.ts";
import type { EngineName, EngineSource } from "./engines.ts";
import type { PhaseProfile } from "./profile.ts";

const CHILD = fileURLToPath(new URL("child.ts", import.meta.url));

export class EngineProcess {
  readonly name: EngineName;
  /** Of loading, up to the first token's logits. */
  readonly loadMs: number;
  readonly #child: ChildProcess;

  private constructor(name: EngineName, child: ChildProcess, loadMs: number) {
    this.name = name;
    this.#child = child;
    this.loadMs = loadMs;
  }

  static async load(name: EngineName, source: EngineSource): Promise<EngineProcess> {
    const child = start();
    try {
      const { ms } = await ask(child, { kind: "load", name, source });
      return new EngineProcess(name, child, ms);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async turn(prompt: readonly number[], steps: readonly number[], wantsLogits = false): Promise<Turn> {
    return await ask(this.#child, { kind: "turn", prompt, steps, wantsLogits });
  }

  /** Its largest resident memory. Nothing can be asked after it. */
  async end(): Promise<Extract<Reply, { kind: "end" }>> {
    return await ask(this.#child, { kind: "end" });
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

/** Where the time of a prompt and of steps goes, in a separate process. */
export async function profile(
  name: EngineName,
  source: EngineSource,
  prompt: readonly number[],
  steps: readonly number[],
): Promise<readonly PhaseProfile[]> {
  const child = start();
  try {
    return (await ask(child, { kind: "profile", name, source, prompt, steps })).phases;
  } finally {
    child.kill("SIGKILL");
  }
}

const start = () => fork(CHILD, [], { execArgv: [...WITH_TYPESCRIPT], serialization: "advanced" });

async function ask<Kind extends Order["kind"]>(
  child: ChildProcess,
  order: Extract<Order, { kind: Kind }>,
): Promise<Extract<Reply, { kind: Kind }>> {
  const reply = (await nextMessage(child, order.kind, () => child.send(order))) as Reply;
  if (reply.kind === "failed") throw new Error(reply.message);
  return reply as Extract<Reply, { kind: Kind }>;
}
