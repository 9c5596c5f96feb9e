import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { lowRankWith } from "../../../test/support/low-rank.ts";
import { ADAPTABLE, seededModel } from "../../../test/support/seeded-models.ts";
import type { Family } from "../../../tools/checkpoint/shapes.ts";
import { TacetError } from "../../base/errors.ts";
import { nodeFileTree, nodePlatform } from "../../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../weights/checkpoint.ts";
import { type LoraAdapter, openLoraAdapter } from "../../weights/lora-adapter.ts";
import { fitAdapter } from "../adapter/fit-adapter.ts";
import { LocalLora } from "../adapter/local-lora.ts";
import { CausalLm } from "../causal-lm.ts";
import type { LoadOptions } from "../load-options.ts";
import type { DeltaSource, GroupInput, Line, LowRankSource, PendingDelta } from "../delta-source.ts";

const dirs: string[] = [];
const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});

async function open(family: Family, modules: readonly string[] = ADAPTABLE[family]) {
  const dir = mkdtempSync(join(tmpdir(), "tacet-ahead-"));
  dirs.push(dir);
  const seeded = seededModel(dir, family);
  const checkpoint = await openCheckpoint(nodeFileTree(seeded.base));
  const folder = seeded.adapter("all", { modules: [...modules], rank: 3 });
  const adapter = await openLoraAdapter(nodeFileTree(folder));
  return { checkpoint, adapter };
}

async function load(checkpoint: Checkpoint, options: LoadOptions): Promise<CausalLm> {
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { threads: 1, ...options });
  models.push(model);
  return model;
}

/** A LocalLora that notes what it is asked. */
class Noted implements DeltaSource {
  readonly inner: LocalLora;
  readonly lowRank: LowRankSource;
  readonly log: string[] = [];
  /** As if it were far away; undefined: in this process. */
  line: Line | undefined;
  /** Begins that fail from now on: by number. */
  failAt = Number.NaN;
  #begins = 0;

  static async of(checkpoint: Checkpoint, adapter: LoraAdapter): Promise<Noted> {
    return new Noted(new LocalLora(await fitAdapter(adapter, checkpoint)));
  }

  private constructor(inner: LocalLora) {
    this.inner = inner;
    this.lowRank = lowRankWith(inner, (first, second, tokens) => this.beginPair(first, second, tokens));
  }
  get groups() {
    return this.inner.groups;
  }
  begin(group: number, x: Float32Array, tokens: number): PendingDelta {
    return this.#note(group, tokens, "", this.inner.begin(group, x, tokens));
  }
  beginPair(first: GroupInput, second: GroupInput, tokens: number): readonly [PendingDelta, PendingDelta] {
    const [one, two] = this.inner.beginPair(first, second, tokens);
    return [this.#note(first.group, tokens, "", one), this.#note(second.group, tokens, " ahead", two)];
  }
  #note(group: number, tokens: number, how: string, { wait }: PendingDelta): PendingDelta {
    this.log.push(`ask ${group}×${tokens}${how}`);
    const fails = this.#begins++ === this.failAt;
    return {
      wait: async (targets) => {
        this.log.push(`wait ${group}`);
        const got = await wait(targets);
        if (fails) throw new TacetError("connection_lost", "gone");
        return got;
      },
    };
  }
}

const IDS = [5, 17, 3, 42, 8, 1];

/** Logits after a prompt of four and after each of two more tokens. */
async function logitsOf(model: CausalLm): Promise<Float32Array[]> {
  const cache = model.newCache();
  const out = [await model.forward(IDS.slice(0, 4), cache)];
  for (const id of IDS.slice(4)) out.push(await model.forward([id], cache));
  return out;
}

function expectClose(got: readonly Float32Array[], want: readonly Float32Array[]): void {
  for (const [i, logits] of want.entries()) {
    const largest = logits.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    const worst = logits.reduce((most, value, k) => Math.max(most, Math.abs(got[i][k] - value)), 0);
    expect(worst / largest, `logits ${i}`).toBeLessThan(2e-5);
  }
}

const FAMILIES: readonly Family[] = ["llama", "qwen2", "qwen3", "mistral", "chatglm2", "gpt2"];

describe.each(FAMILIES)("%s", (family) => {
  it("gives the same with look-ahead, without, and with the adapter inside the graph", async () => {
    const { checkpoint, adapter } = await open(family);
    const fitted = await fitAdapter(adapter, checkpoint);
    const source = () => new LocalLora(fitted);
    const plain = await load(checkpoint, { deltas: source(), lookAhead: false });
    const want = await logitsOf(plain);
    const ahead = await load(checkpoint, { deltas: source() });
    expectClose(await logitsOf(ahead), want);
    const whole = await load(checkpoint, { adapter });
    expectClose(await logitsOf(whole), want);
    expect(whole.timings.sessionRuns).toBe(3);
    // GPT-2's layer norm is not an RMS norm; the others have two groups for each exchange.
    const fewer = family === "gpt2" ? 1 : 0.65;
    expect(ahead.timings.sessionRuns / plain.timings.sessionRuns).toBeLessThanOrEqual(fewer);
  });
});

describe("look-ahead", () => {
  it("asks a pair together in decode steps and one after the other in prompts", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await Noted.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    const cache = model.newCache();
    await model.forward(IDS.slice(0, 3), cache);
    // Two layers; group 0 and the last one stand alone.
    expect(deltas.log.slice(0, 6)).toEqual(["ask 0×3", "wait 0", "ask 1×3", "wait 1", "ask 2×3", "wait 2"]);
    expect(deltas.log.filter((line) => line.startsWith("ask"))).toHaveLength(8);
    deltas.log.length = 0;
    await model.forward([IDS[3]], cache);
    const effects = ["ask 2×3", "ask 4×3", "ask 6×3", "wait 2", "wait 4", "wait 6"];
    expect(deltas.log.slice(0, 6).sort()).toEqual(effects.sort());
    const step = deltas.log.slice(6);
    expect(step.slice(0, 6)).toEqual(["ask 0×1", "wait 0", "ask 1×1", "ask 2×1 ahead", "wait 1", "wait 2"]);
    deltas.log.length = 0;
    await model.forward([IDS[4]], cache);
    expect(deltas.log).toEqual(step); // once for the source
  });

  // As docs/network.md has it, for two layers.
  it.each([
    ["q, v", ["q_proj", "v_proj"], 2, 2],
    ["q, k, v, o", ["q_proj", "k_proj", "v_proj", "o_proj"], 4, 4],
    ["gate, up", ["gate_proj", "up_proj"], 2, 2],
    ["gate, up, down", ["gate_proj", "up_proj", "down_proj"], 4, 4],
    ["o, gate, up", ["o_proj", "gate_proj", "up_proj"], 2, 4],
    ["q, k, v, down", ["q_proj", "k_proj", "v_proj", "down_proj"], 3, 4],
    ["all seven", ADAPTABLE.llama, 5, 8],
  ])("%s: so many exchanges a token, and so many vectors", async (_, modules, exchanges, vectors) => {
    const { checkpoint, adapter } = await open("llama", modules);
    const deltas = await Noted.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    const cache = model.newCache();
    await model.forward([IDS[0]], cache);
    deltas.log.length = 0;
    const before = model.timings.exchanges;
    await model.forward([IDS[1]], cache);
    expect(model.timings.exchanges - before).toBe(exchanges);
    expect(deltas.log.filter((line) => line.startsWith("ask"))).toHaveLength(vectors);
  });

  it("is left out where a module between is not adapted", async () => {
    const { checkpoint, adapter } = await open("llama", [
      "q_proj",
      "v_proj",
      "o_proj",
      "up_proj",
      "down_proj",
    ]);
    const deltas = await Noted.of(checkpoint, adapter);
    const ahead = await logitsOf(await load(checkpoint, { deltas }));
    expect(deltas.log.some((line) => line.includes("ahead"))).toBe(false);
    const source = new LocalLora(await fitAdapter(adapter, checkpoint));
    expectClose(ahead, await logitsOf(await load(checkpoint, { deltas: source, lookAhead: false })));
    expectClose(ahead, await logitsOf(await load(checkpoint, { adapter })));
  });

  it.each([8, 9, 12, 13, 14, 15, 17, 18])("goes on after query %i has failed", async (failAt) => {
    // 0 to 7: the prompt; 8 to 10: effects; 11 to 18: the step, of which 12 and 13 are a pair.
    const { checkpoint, adapter } = await open("llama");
    const want = await logitsOf(await load(checkpoint, { deltas: await Noted.of(checkpoint, adapter) }));
    const deltas = await Noted.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    const cache = model.newCache();
    const got = [await model.forward(IDS.slice(0, 4), cache)];
    deltas.failAt = failAt;
    await expect(model.forward([IDS[4]], cache)).rejects.toMatchObject({ code: "connection_lost" });
    expect(cache.length).toBe(4);
    for (const id of IDS.slice(4)) got.push(await model.forward([id], cache));
    expectClose(got, want);
  });

  it("stops while it waits for a pair", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await Noted.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    const cache = model.newCache();
    await model.forward(IDS.slice(0, 4), cache);
    await model.forward([IDS[4]], cache);
    const controller = new AbortController();
    const beginPair = deltas.beginPair.bind(deltas);
    deltas.beginPair = (first, second, tokens) => {
      const [one, two] = beginPair(first, second, tokens);
      if (second.group !== 2) return [one, two];
      controller.abort();
      return [one, { wait: () => new Promise<readonly Float32Array[]>(() => {}) }];
    };
    const { signal } = controller;
    await expect(model.forward([IDS[5]], cache, { signal })).rejects.toMatchObject({ code: "aborted" });
    expect(cache.length).toBe(5);
  });

  it("asks nothing more of a prompt that was stopped", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await Noted.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas });
    const controller = new AbortController();
    const begin = deltas.begin.bind(deltas);
    deltas.begin = (group, x, tokens) => {
      if (group === 1) controller.abort();
      return begin(group, x, tokens);
    };
    const { signal } = controller;
    const cache = model.newCache();
    const code = "aborted";
    await expect(model.forward(IDS, cache, { signal })).rejects.toMatchObject({ code });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(deltas.log.filter((line) => line.startsWith("ask"))).toEqual(["ask 0×6", "ask 1×6"]);
    await expect(model.forward(IDS.slice(0, 1), cache, { signal })).rejects.toMatchObject({ code });
    expect(deltas.log).not.toContain("ask 2×3");
  });

  it("waits as many steps as it is told before it asks for the effects", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = await Noted.of(checkpoint, adapter);
    const model = await load(checkpoint, { deltas, lookAheadAfter: 2 });
    const cache = model.newCache();
    const asksAhead = async (id: number) => {
      deltas.log.length = 0;
      await model.forward([id], cache);
      return deltas.log.filter((line) => line.endsWith("ahead")).length;
    };
    expect([await asksAhead(1), await asksAhead(2), await asksAhead(3)]).toEqual([0, 0, 3]);
  });

  it.each(["budget_exhausted", "too_many_requests"] as const)(
    "does without where it is refused: %s",
    async (code) => {
      const { checkpoint, adapter } = await open("llama");
      const want = await logitsOf(await load(checkpoint, { deltas: await Noted.of(checkpoint, adapter) }));
      const deltas = await Noted.of(checkpoint, adapter);
      const begin = deltas.begin.bind(deltas);
      deltas.begin = (group, x, tokens) => {
        const pending = begin(group, x, tokens);
        if (tokens !== 3 || group !== 4) return pending;
        return { wait: () => Promise.reject(new TacetError(code, "no")) };
      };
      const model = await load(checkpoint, { deltas });
      expectClose(await logitsOf(model), want);
      // The other two pairs have their effects, this one is asked one after the other.
      const ahead = ["ask 2×1 ahead", "ask 6×1 ahead"];
      expect(deltas.log.filter((line) => line.endsWith("ahead"))).toEqual([...ahead, ...ahead]);
    },
  );

  it("refuses a source whose effects another model has made", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = new LocalLora(await fitAdapter(adapter, checkpoint));
    await logitsOf(await load(checkpoint, { deltas }));
    await expect(logitsOf(await load(checkpoint, { deltas }))).rejects.toThrow(TypeError);
  });

  it("refuses a source and an adapter inside the graph at once", async () => {
    const { checkpoint, adapter } = await open("llama");
    const deltas = new LocalLora(await fitAdapter(adapter, checkpoint));
    await expect(load(checkpoint, { deltas, adapter })).rejects.toThrow(TypeError);
  });
});
