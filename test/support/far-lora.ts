/** A source of deltas that seems far away: for what is done about a line, without one. */
import { TacetError } from "../../src/base/errors.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import type {
  DeltaSource,
  Line,
  LowRankSource,
  PendingDelta,
  RoutesTaken,
} from "../../src/model/delta-source.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import type { LoraAdapter } from "../../src/weights/lora-adapter.ts";
import { lowRankWith } from "./low-rank.ts";

/** A LocalLora that seems far away: its answers come after some turns of the event loop. */
export class FarLora implements DeltaSource {
  readonly inner: LocalLora;
  readonly lowRank: LowRankSource;
  line: Line = { roundTripMs: 3000, vectorMs: 100 };
  /** Turns of the event loop before an answer comes. */
  turns: () => number = () => 1;
  /** Of tokens that are on their way: now, and the most so far. */
  open = 0;
  mostOpen = 0;
  /** Groups in the order in which they were asked. */
  readonly asked: number[] = [];
  /** The query that fails, by number. */
  failAt = Number.NaN;
  onAsked: () => void = () => {};

  static async of(checkpoint: Checkpoint, adapter: LoraAdapter): Promise<FarLora> {
    return new FarLora(new LocalLora(await fitAdapter(adapter, checkpoint)));
  }

  private constructor(inner: LocalLora) {
    this.inner = inner;
    this.lowRank = lowRankWith(inner, (first, second, tokens) => {
      const [one, two] = inner.beginPair(first, second, tokens);
      return [this.#late(first.group, tokens, one), this.#late(second.group, 0, two)];
    });
  }
  get groups() {
    return this.inner.groups;
  }
  get changes() {
    return this.inner.changes;
  }
  get invocationTokens() {
    return this.inner.invocationTokens;
  }
  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    return this.#late(group, tokens, this.inner.begin(group, x, tokens));
  }
  beginIds(group: number, ids: readonly number[]): PendingDelta {
    return this.#late(group, ids.length, this.inner.beginIds(group, ids));
  }
  beginRouted(group: number, x: Float32Array, rows: number, routes: RoutesTaken): PendingDelta {
    return this.#late(group, rows, this.inner.beginRouted(group, x, rows, routes));
  }
  #late(group: number, tokens: number, { wait }: PendingDelta): PendingDelta {
    const fails = this.asked.push(group) - 1 === this.failAt;
    this.open += tokens;
    this.mostOpen = Math.max(this.mostOpen, this.open);
    this.onAsked();
    const answer = (async () => {
      for (let turn = this.turns(); turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve));
      this.open -= tokens;
      if (fails) throw new TacetError("connection_lost", "gone");
      return await wait();
    })();
    answer.catch(() => {});
    return {
      wait: async (targets) => {
        const made = await answer;
        if (!targets) return made;
        for (const [i, delta] of made.entries()) targets[i].set(delta);
        return targets;
      },
    };
  }
}
