/** The variables of one call: of the template, or of a macro, which sees those around its definition. */
import type { Loads } from "./ast.ts";
import type { JinjaValue } from "./values.ts";

export class Frame {
  readonly #values = new Map<string, JinjaValue | undefined>();
  readonly #outer: Frame | undefined;
  readonly #context: ReadonlyMap<string, JinjaValue>;

  constructor(context: ReadonlyMap<string, JinjaValue>, outer?: Frame) {
    this.#context = context;
    this.#outer = outer;
  }

  /** A call inside: its variables, and those here. */
  inner(): Frame {
    return new Frame(this.#context, this);
  }

  /** Undefined: it has no value. */
  get(slot: string): JinjaValue | undefined {
    for (let frame: Frame | undefined = this; frame !== undefined; frame = frame.#outer) {
      if (frame.#values.has(slot)) return frame.#values.get(slot);
    }
    return undefined;
  }

  set(slot: string, value: JinjaValue | undefined): void {
    this.#values.set(slot, value);
  }

  /** Sets a scope's variables to what they hold at its beginning. */
  enter(loads: Loads): void {
    for (const [slot, load] of loads) {
      if (load.from === "context") this.set(slot, this.#context.get(load.name));
      else if (load.from === "outer") this.set(slot, this.get(load.slot));
      else if (load.from === "nothing") this.set(slot, undefined);
    }
  }

  leave(loads: Loads): void {
    for (const slot of loads.keys()) this.set(slot, undefined);
  }
}
