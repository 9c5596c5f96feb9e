/** How keys are counted, fetched ahead and given back: against a model of a provider that counts by itself. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { ClientKey, ClientLayer } from "../pll/client-layer.ts";
import { type HeldKey, KeyRing } from "./key-ring.ts";
import type { FetchedKey, KeySource } from "./keys.ts";

const PER_KEY = 256;
const PART = { weights: new Uint8Array(3), hint: new Uint8Array(2) };
const SIGNATURE = new Uint8Array(64);

/** Layers that note which keys are in memory. */
class Memory {
  readonly held = new Set<ClientKey>();
  released = 0;
  readonly keyBytes: number;
  constructor(keyBytes: number) {
    this.keyBytes = keyBytes;
  }
  loadKey(): ClientKey {
    const key = {} as ClientKey;
    this.held.add(key);
    return key;
  }
  releaseKey(key: ClientKey): void {
    if (!this.held.delete(key)) throw new Error("a key was freed twice");
    this.released++;
  }
}

/** A provider whose keys come when a test says so. */
class Source implements KeySource {
  readonly open: { resolve(key: FetchedKey): void; reject(error: unknown): void }[] = [];
  readonly forgotten: string[] = [];
  made = 0;
  kept: FetchedKey[] = [];

  fetchKey(): Promise<FetchedKey> {
    return new Promise((resolve, reject) => this.open.push({ resolve, reject }));
  }
  async *keptKeys(): AsyncGenerator<FetchedKey> {
    yield* this.kept;
  }
  forgetKey(id: Uint8Array): void {
    this.forgotten.push(toHex(id));
  }
  key(vectorsLeft = PER_KEY): FetchedKey {
    const id = new Uint8Array(16);
    new DataView(id.buffer).setUint32(12, ++this.made);
    return { id, vectorsLeft, groups: Array(groups).fill(PART), signature: SIGNATURE };
  }
  async arrive(): Promise<void> {
    this.open.shift()?.resolve(this.key());
    await settled();
  }
  async fail(error: unknown): Promise<void> {
    this.open.shift()?.reject(error);
    await settled();
  }
}

let groups = 3;
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

function ringOf(count = 3, keyBytes = 1000) {
  groups = count;
  const memories = Array.from({ length: count }, () => new Memory(keyBytes));
  const source = new Source();
  const ring = new KeyRing(memories as unknown as ClientLayer[], source, PER_KEY);
  const inMemory = () => memories[0].held.size;
  return { ring, source, memories, inMemory };
}

async function withKey(count = 3) {
  const made = ringOf(count);
  made.ring.expect(1);
  await made.source.arrive();
  return made;
}

function take(ring: KeyRing, group: number, vectors: number): HeldKey {
  const key = ring.takeNow(group, vectors);
  if (key === undefined) throw new Error("no key");
  return key;
}

describe("a key", () => {
  it("is fetched once for all that waits, and serves 256 vectors of each group", async () => {
    const { ring, source, inMemory } = ringOf();
    const taken = [0, 1, 2].map((group) => ring.take(group, 64));
    expect(source.open).toHaveLength(1);
    await source.arrive();
    const keys = await Promise.all(taken);
    expect(new Set(keys).size).toBe(1);
    for (const key of keys) ring.done(key);
    for (const group of [0, 1, 2]) for (let i = 0; i < 192; i++) ring.done(take(ring, group, 1));
    expect(source.forgotten).toEqual([toHex(keys[0].id)]);
    expect(inMemory()).toBe(0);
    expect(ring.takeNow(0, 1)).toBeUndefined();
  });

  it("is followed by the next one when two thirds are used of the busiest group, once", async () => {
    const { ring, source } = await withKey();
    for (let used = 1; used <= 170; used++) ring.done(take(ring, 1, 1));
    expect(source.open).toHaveLength(0);
    for (let used = 171; used <= 256; used++) ring.done(take(ring, 1, 1));
    expect(source.open).toHaveLength(1);
    expect(ring.takeNow(1, 1)).toBeUndefined();
    await source.arrive();
    expect(ring.takeNow(1, 1)).toBeDefined();
    // The first one still serves the others.
    expect(take(ring, 0, 1).left[1]).toBe(0);
  });

  it("has no more than 256 vectors whatever the source says, and fewer where it says so", async () => {
    const { ring, source } = ringOf();
    source.kept = [source.key(300), source.key(10)];
    await ring.restore();
    expect(ring.takeNow(0, 257)).toBeUndefined();
    expect(take(ring, 0, 256).left[0]).toBe(0);
    expect(ring.takeNow(0, 11)).toBeUndefined();
    expect(take(ring, 0, 10).left[0]).toBe(0);
  });

  it("that is used up is freed when the last query under it ends", async () => {
    const { ring, inMemory } = await withKey(1);
    const [first, second] = [take(ring, 0, 128), take(ring, 0, 128)];
    ring.done(first);
    expect(inMemory()).toBe(1);
    ring.done(second);
    expect(inMemory()).toBe(0);
  });
});

describe("a long prompt", () => {
  it.each([
    [1, 1],
    [256, 1],
    [257, 2],
    [512, 2],
    [700, 3],
    [5000, 16],
  ])("of %d tokens has %d keys fetched at once", (tokens, keys) => {
    const { ring, source } = ringOf();
    ring.expect(tokens);
    ring.expect(tokens);
    expect(source.open).toHaveLength(keys);
  });

  it("takes what is left into account", async () => {
    const { ring, source } = await withKey();
    ring.done(take(ring, 2, 100));
    ring.expect(156);
    expect(source.open).toHaveLength(0);
    ring.expect(157);
    expect(source.open).toHaveLength(1);
    ring.expect(412);
    expect(source.open).toHaveLength(1);
    ring.expect(413);
    expect(source.open).toHaveLength(2);
  });

  it("holds fewer keys where they are large, and four at least", () => {
    expect(ringOf(1, 64 << 20).ring.mostKeys).toBe(8);
    expect(ringOf(2, 1 << 30).ring.mostKeys).toBe(4);
    expect(ringOf(1, 1000).ring.mostKeys).toBe(16);
  });
});

describe("with as many keys as there may be", () => {
  it("remainders that are too short do not keep a new key out", async () => {
    const { ring, source, inMemory } = ringOf(1, 1 << 30);
    for (let i = 0; i < 4; i++) {
      const taken = ring.take(0, 200);
      await source.arrive();
      ring.done(await taken);
      // Fetched ahead, since little is left.
      while (i < 3 && source.open.length > 0) await source.fail(new Error("not now"));
    }
    expect(inMemory()).toBe(4);
    const next = ring.take(0, 200);
    await source.arrive();
    expect(await next).toBeDefined();
    expect(inMemory()).toBe(4);
  });

  it("more queries than these serve go on one key after the other", async () => {
    const { ring, source } = ringOf(2, 1 << 30);
    const taken = Array.from({ length: 6 }, () => ring.take(0, 256));
    expect(source.open).toHaveLength(4);
    for (let i = 0; i < 6; i++) await source.arrive();
    const keys = await Promise.all(taken);
    expect(new Set(keys).size).toBe(6);
  });
});

describe("a key that the provider refuses", () => {
  it("is dropped once, though several queries are refused under it, and freed after the last", async () => {
    const { ring, source, inMemory } = await withKey();
    const [one, two] = [take(ring, 0, 1), take(ring, 1, 1)];
    ring.drop(one);
    ring.done(one);
    expect(inMemory()).toBe(1);
    ring.drop(two);
    ring.done(two);
    expect(inMemory()).toBe(0);
    expect(source.forgotten).toHaveLength(1);
    const next = ring.take(0, 1);
    await source.arrive();
    expect((await next).id).not.toEqual(one.id);
  });
});

describe("what the provider says anew", () => {
  it("drops keys that are missing or used up, and counts what others used of the rest", async () => {
    const { ring, source } = ringOf();
    source.kept = [source.key(), source.key(), source.key()];
    await ring.restore();
    const [a, b, c] = source.kept.map(({ id }) => id);
    ring.done(take(ring, 1, 50));
    ring.correct([
      { keyId: a, vectorsLeft: 200 },
      { keyId: c, vectorsLeft: 0 },
    ]);
    expect(ring.heldIds).toEqual([a]);
    expect(source.forgotten).toEqual([toHex(b), toHex(c)]);
    // 50 are ours and 6 are others'.
    expect(take(ring, 0, 1).left).toEqual([249, 200, 250]);
    ring.correct([{ keyId: a, vectorsLeft: 256 }]);
    expect(take(ring, 0, 1).left).toEqual([248, 200, 250]);
  });
});

describe("a key that cannot be fetched", () => {
  const error = new TacetError("too_many_requests", "later");

  it("fails what waits, and a later query tries again", async () => {
    const { ring, source } = ringOf();
    const waiting = [ring.take(0, 1), ring.take(1, 1)].map((taken) => taken.catch((cause: unknown) => cause));
    await source.fail(error);
    expect(await Promise.all(waiting)).toEqual([error, error]);
    const again = ring.take(0, 1);
    await source.arrive();
    expect(await again).toBeDefined();
  });

  it("fails nothing while another one is on its way", async () => {
    const { ring, source } = ringOf();
    ring.expect(512);
    const taken = ring.take(0, 256);
    await source.fail(error);
    await source.arrive();
    expect(await taken).toBeDefined();
  });

  it("in the background is nobody's failure", async () => {
    const { ring, source } = await withKey(1);
    for (let i = 0; i < 200; i++) ring.done(take(ring, 0, 1));
    await source.fail(error);
    expect(ring.takeNow(0, 1)).toBeDefined();
    expect(source.open).toHaveLength(1);
  });

  it("because it is none is bad_key, and leaves nothing in memory", async () => {
    const { ring, source, memories } = ringOf();
    memories[2].loadKey = () => {
      throw new RangeError("hint: length 3 instead of 2");
    };
    const taken = ring.take(0, 1).catch((cause: unknown) => cause);
    await source.arrive();
    expect(await taken).toMatchObject({ code: "bad_key", message: expect.stringContaining("hint") });
    expect(memories.map(({ held }) => held.size)).toEqual([0, 0, 0]);
  });
});

describe("dispose", () => {
  it("frees all keys, those in use when they are given back, and fails what waits", async () => {
    const { ring, source, inMemory } = await withKey();
    const used = take(ring, 0, 200);
    const waiting = ring.take(0, 200).catch((cause: unknown) => cause);
    ring.dispose();
    expect(await waiting).toMatchObject({ code: "connection_lost" });
    expect(inMemory()).toBe(1);
    ring.done(used);
    expect(inMemory()).toBe(0);
    await source.arrive();
    expect(inMemory()).toBe(0);
    await expect(ring.take(0, 1)).rejects.toMatchObject({ code: "connection_lost" });
    // What is left serves the next session.
    expect(source.forgotten).toEqual([]);
  });
});

describe("any order of queries", () => {
  /** A provider that counts by itself, in turns with clients whose queries end in any order. */
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("take" as const),
      group: fc.nat(2),
      vectors: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 129, max: 256 })),
    }),
    fc.record({ kind: fc.constant("arrive" as const) }),
    fc.record({ kind: fc.constant("fail" as const) }),
    fc.record({ kind: fc.constant("done" as const), which: fc.nat() }),
    fc.record({ kind: fc.constant("refuse" as const), which: fc.nat() }),
    fc.record({ kind: fc.constant("expect" as const), tokens: fc.integer({ min: 1, max: 600 }) }),
  );

  it("keeps every key to its vectors, memory to its bound, and lets every query go on", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const { ring, source, memories, inMemory } = ringOf(3, 200 << 20);
        const asked = new Map<HeldKey, number[]>();
        const users: HeldKey[] = [];
        let waiting = 0;
        for (const one of steps) {
          if (one.kind === "take") {
            waiting++;
            ring.take(one.group, one.vectors).then(
              (key) => {
                waiting--;
                users.push(key);
                const counts = asked.get(key) ?? [0, 0, 0];
                counts[one.group] += one.vectors;
                asked.set(key, counts);
              },
              () => waiting--,
            );
          } else if (one.kind === "expect") ring.expect(one.tokens);
          else if (one.kind === "arrive") await source.arrive();
          else if (one.kind === "fail") await source.fail(new Error("lost"));
          else if (users.length > 0) {
            const [key] = users.splice(one.which % users.length, 1);
            if (one.kind === "refuse") ring.drop(key);
            ring.done(key);
          }
          await settled();
          expect(ring.heldIds.length + source.open.length).toBeLessThanOrEqual(ring.mostKeys);
          // What waits has a key on its way: nothing stands still.
          if (waiting > 0) expect(source.open.length).toBeGreaterThan(0);
        }
        for (const counts of asked.values())
          for (const count of counts) expect(count).toBeLessThanOrEqual(PER_KEY);
        for (let i = 0; waiting > 0; i++) {
          expect(i).toBeLessThan(2 * steps.length + 20);
          await source.arrive();
        }
        for (const key of users) ring.done(key);
        expect(inMemory()).toBe(ring.heldIds.length);
        ring.dispose();
        expect(memories.map(({ held }) => held.size)).toEqual([0, 0, 0]);
      }),
      { numRuns: process.env.SLOW === "1" ? 2_000 : 150 },
    );
  });
});
