/** Who makes which query, and that a thread that ends, fails or says nothing costs no query and no mask. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { gaussianSource } from "../../../test/support/pll-layer.ts";
import { memoryThreads } from "../../../test/support/memory-threads.ts";
import type { EncryptionPlatform, Thread } from "../../base/platform.ts";
import { DEFAULT_PARAMETERS } from "../../rlwe/parameters.ts";
import { EncryptionThreads } from "./encryption-threads.ts";
import type { Done } from "./messages.ts";

const N = 32;
const layers = { bundleId: new Uint8Array(16), parameters: DEFAULT_PARAMETERS, inFeatures: [N] };
const x = Float32Array.from({ length: 256 * N }, gaussianSource(3));

const opened: EncryptionThreads[] = [];
afterEach(() => {
  vi.useRealTimers();
  for (const threads of opened.splice(0)) threads.dispose();
});

function open(platform: EncryptionPlatform | undefined): EncryptionThreads {
  const threads = new EncryptionThreads(platform, layers);
  opened.push(threads);
  return threads;
}

async function ready(platform: EncryptionPlatform, count = 1): Promise<EncryptionThreads> {
  const threads = open(platform);
  await vi.waitFor(() => expect(threads.start()).toBe(count));
  return threads;
}

const isTheirs = (shared: ReturnType<EncryptionThreads["share"]>) => shared.map((made) => made !== undefined);

describe("threads", () => {
  it.each([
    [1, 0],
    [2, 1],
    [5, 2],
    [64, 3],
  ])("of %i cores take %i", async (cores, count) => {
    const threads = open(memoryThreads(cores));
    await vi.waitFor(() => expect(threads.start()).toBe(count));
    expect(threads.status.threads).toBe(count);
    expect(threads.status.reason).toBe(count === 0 ? "there is one core" : undefined);
  });

  it("are not there where the platform has none", () => {
    const threads = open(undefined);
    expect(isTheirs(threads.share(0, x, [64, 64]))).toEqual([false, false]);
    expect(threads.status).toEqual({ threads: 0, reason: "this platform has no threads for it" });
  });

  it("that the platform refuses to start are done without, and it says why", () => {
    let asked = 0;
    const threads = open({
      cores: 8,
      start() {
        asked++;
        throw new Error("what it worked on");
      },
    });
    for (let i = 0; i < 3; i++) expect(isTheirs(threads.share(0, x, [64, 64]))).toEqual([false, false]);
    expect(asked).toBe(3);
    expect(threads.status).toEqual({ threads: 0, reason: "no thread could be started" });
  });

  it("start with the first prompt, and take no part in it before they are ready", async () => {
    const platform = memoryThreads(2);
    const threads = open(platform);
    expect(platform.started).toHaveLength(0);
    expect(isTheirs(threads.share(0, x, [64, 64]))).toEqual([false, false]);
    expect(platform.started).toHaveLength(1);
    await vi.waitFor(() => expect(isTheirs(threads.share(0, x, [64, 64]))).toEqual([true, false]));
  });
});

describe("shares", () => {
  it("are equal, the own one last, and short queries stay here", async () => {
    const threads = await ready(memoryThreads(4), 2);
    expect(isTheirs(threads.share(0, x, [40, 40, 40]))).toEqual([true, true, false]);
    const before = await ready(memoryThreads(2));
    expect(isTheirs(before.share(0, x, [8]))).toEqual([false]);
    expect(isTheirs(before.share(0, x, [64, 64]))).toEqual([true, false]);
    // It is still at the first one.
    expect(isTheirs(before.share(0, x, [64, 64]))).toEqual([false, true]);
  });

  it("are of x as it was: memory that the caller goes on with", async () => {
    const platform = memoryThreads(2);
    const threads = await ready(platform);
    const given = x.slice(0, 128 * N);
    const [made] = threads.share(0, given, [64, 64]);
    given.fill(0);
    const query = await made!;
    expect(query!.vectors).toBe(64);
    expect(query!.scales.every((scale) => scale > 0)).toBe(true);
    // And a query in memory that another one has left.
    threads.giveBack(query!);
    for (const secret of [query!.secrets, query!.activations, query!.scales])
      expect([...secret].every((value) => value === 0)).toBe(true);
    expect(query!.state).toBe("used");
    const [again] = threads.share(0, x, [64, 64]);
    expect((await again!)!.secrets.some((value) => value !== 0)).toBe(true);
  });
});

describe("what is secret", () => {
  const isWiped = (made: Done) =>
    [made.query!.secrets, made.query!.activations, made.query!.scales].every((part) =>
      [...part].every((value) => value === 0),
    );

  it("of x stays nowhere in a thread: its memory comes back wiped", async () => {
    const platform = memoryThreads(2);
    const threads = await ready(platform);
    await threads.share(0, x, [64, 64])[0];
    const [{ memory }] = platform.started[0].made;
    expect(memory.byteLength).toBe(4 * 64 * N);
    expect(new Uint8Array(memory).every((byte) => byte === 0)).toBe(true);
  });

  it("of a query that comes twice, or late, is wiped; the first one is left alone", async () => {
    const platform = memoryThreads(2);
    const copies: Done[] = [];
    platform.change = (done) => {
      copies.push(structuredClone(done));
      return done;
    };
    const real: Thread[] = [];
    const threads = await ready({
      cores: 2,
      start: () => {
        real.push(platform.start());
        return real[real.length - 1];
      },
    });
    const query = (await threads.share(0, x, [64, 64])[0])!;
    const { ms } = threads;
    expect(isWiped(copies[0])).toBe(false);
    real[0].onMessage(copies[0]);
    expect(isWiped(copies[0])).toBe(true);
    expect(query.state).toBe("fresh");
    expect(query.scales.every((scale) => scale > 0)).toBe(true);
    const [given] = threads.share(0, x, [64, 64]);
    threads.dispose();
    await expect(given).rejects.toMatchObject({ code: "connection_lost" });
    const late = { ...structuredClone(copies[0]), id: 2, query: { ...query } };
    real[0].onMessage(late);
    expect(isWiped(late)).toBe(true);
    expect(threads.ms).toBe(ms);
  });
});

describe("in idle time", () => {
  it("a thread makes masks for its part of a prompt, and stops when something is asked", async () => {
    const threads = await ready(memoryThreads(2));
    expect(threads.isFull).toBe(false);
    threads.rest(true);
    await vi.waitFor(() => expect(threads.isFull).toBe(true));
    const [made] = threads.share(0, x, [64, 64]);
    threads.rest(false);
    expect((await made!)?.vectors).toBe(64);
    expect(threads.isFull).toBe(false);
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(threads.isFull).toBe(false);
    threads.rest(true);
    await vi.waitFor(() => expect(threads.isFull).toBe(true));
  });

  it("one that starts meanwhile begins at once", async () => {
    const threads = open(memoryThreads(2));
    threads.rest(true);
    await vi.waitFor(() => expect(threads.start()).toBe(1));
    await vi.waitFor(() => expect(threads.isFull).toBe(true));
  });

  it.each(["ahead", "with the query"])(
    "two at a time never share a mask or a secret (made %s)",
    async (when) => {
      const platform = memoryThreads(4);
      const threads = await ready(platform, 2);
      if (when === "ahead") {
        threads.rest(true);
        await vi.waitFor(() => expect(threads.isFull).toBe(true));
      }
      // The same x: under the same mask it would be the same bytes.
      const same = new Float32Array(192 * N).fill(1);
      const [vectors, secrets] = [new Set<string>(), new Set<string>()];
      const rounds = 6;
      for (let round = 0; round < rounds; round++) {
        const shared = threads.share(0, same, [64, 64, 64]);
        expect(isTheirs(shared)).toEqual([true, true, false]);
        for (const made of shared.slice(0, 2)) {
          const query = (await made!)!;
          for (let t = 0; t < 64; t++) {
            vectors.add(query.bytes.subarray(t * 4550, (t + 1) * 4550).join());
            secrets.add(query.secrets.subarray(t * 2048, (t + 1) * 2048).join());
          }
        }
      }
      expect(platform.started.map(({ jobs }) => jobs)).toEqual([rounds, rounds]);
      expect(vectors.size).toBe(rounds * 128);
      expect(secrets.size).toBe(rounds * 128);
    },
  );

  it("what it made ahead hides one query each", async () => {
    const threads = await ready(memoryThreads(2));
    threads.rest(true);
    await vi.waitFor(() => expect(threads.isFull).toBe(true));
    const same = new Float32Array(128 * N).fill(1);
    const seen = new Set<string>();
    for (let round = 0; round < 4; round++) {
      const query = (await threads.share(0, same, [64, 64])[0]!)!;
      for (let t = 0; t < 64; t++) {
        seen.add(query.bytes.subarray(t * 4550, (t + 1) * 4550).join());
        seen.add(query.secrets.subarray(t * 2048, (t + 1) * 2048).join());
      }
    }
    expect(seen.size).toBe(2 * 4 * 64);
  });
});

describe("a thread", () => {
  it.each(["die-before", "die-after"] as const)(
    "that ends (%s) leaves its jobs to this one, and is replaced",
    async (fate) => {
      const platform = memoryThreads(2, (_, thread) => (thread === 0 ? fate : "answer"));
      const threads = await ready(platform);
      const [first] = threads.share(0, x, [64, 64]);
      const [, second] = threads.share(0, x, [64, 64]);
      expect((await first!)?.vectors).toBe(fate === "die-after" ? 64 : undefined);
      expect(await second!).toBeUndefined();
      expect(threads.status).toEqual({ threads: 0, reason: "it died" });
      await vi.waitFor(() => expect(threads.start()).toBe(1));
      expect((await threads.share(0, x, [64, 64])[0]!)?.vectors).toBe(64);
      expect(platform.started).toHaveLength(2);
    },
  );

  it("is not started any more when three have ended", async () => {
    const platform = memoryThreads(2, () => "die-before");
    const threads = open(platform);
    for (let i = 0; i < 3; i++) {
      await vi.waitFor(() => expect(threads.start()).toBe(1));
      expect(await threads.share(0, x, [64, 64])[0]).toBeUndefined();
    }
    expect(threads.start()).toBe(0);
    expect(platform.started).toHaveLength(3);
    expect(threads.status).toEqual({ threads: 0, reason: "it died" });
  });

  it.each(["setup", "job", "idle"])("that takes no message (%s) counts as ended", async (type) => {
    const platform = memoryThreads(2);
    let isOpen = false;
    const threads = open({
      cores: platform.cores,
      start() {
        const thread = platform.start();
        const { post } = thread;
        thread.post = (message, transfer) => {
          if (!isOpen && (message as { type: string }).type === type) throw new Error("what it worked on");
          post(message, transfer);
        };
        return thread;
      },
    });
    await vi.waitFor(() => {
      const shared = threads.share(0, x, [64, 64]);
      threads.rest(true);
      expect(platform.started[0].isEnded).toBe(true);
      return Promise.all(shared);
    });
    expect(threads.status.reason).toBe("a thread could not be given anything");
    isOpen = true;
    // All three have ended while they were started.
    if (type === "setup") return expect(threads.start()).toBe(0);
    await vi.waitFor(() => expect(threads.start()).toBe(1));
    expect((await threads.share(0, x, [64, 64])[0])?.vectors).toBe(64);
  });

  it("that can't make a query leaves it to this one and goes on", async () => {
    const threads = await ready(memoryThreads(2, (job) => (job === 0 ? "fail" : "answer")));
    expect(await threads.share(0, x, [64, 64])[0]).toBeUndefined();
    expect((await threads.share(0, x, [64, 64])[0])?.vectors).toBe(64);
    expect(threads.status).toEqual({ threads: 1 });
  });

  it("that says nothing for ten seconds counts as ended, and what it says later is dropped", async () => {
    const platform = memoryThreads(2, (job) => (job === 0 ? "silence" : "answer"));
    const threads = await ready(platform);
    vi.useFakeTimers();
    const [made] = threads.share(0, x, [64, 64]);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(threads.status.threads).toBe(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await made).toBeUndefined();
    expect(threads.status).toEqual({ threads: 0, reason: "a thread made nothing in 10 s" });
    expect(platform.started[0].isEnded).toBe(true);
    platform.started[0].deliver();
    await vi.advanceTimersByTimeAsync(1);
    expect(threads.ms).toBe(0);
  });

  it("that is not ready in ten seconds counts as ended, and is replaced", async () => {
    vi.useFakeTimers();
    let isDeaf = true;
    const platform = memoryThreads(2);
    const threads = open({
      cores: platform.cores,
      start() {
        const thread = platform.start();
        if (isDeaf) thread.post = () => {};
        return thread;
      },
    });
    expect(threads.start()).toBe(0);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(threads.status).toEqual({ threads: 1 });
    expect(isTheirs(threads.share(0, x, [64, 64]))).toEqual([false, false]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(threads.status).toEqual({ threads: 0, reason: "a thread was not ready in 10 s" });
    expect(platform.started[0].isEnded).toBe(true);
    isDeaf = false;
    expect(threads.start()).toBe(0);
    await vi.advanceTimersByTimeAsync(10);
    expect(threads.start()).toBe(1);
    // One that has nothing to say is not waited for.
    await vi.advanceTimersByTimeAsync(60_000);
    expect(threads.status.threads).toBe(1);
  });

  it("that says nothing counts as ended also while it is given more", async () => {
    const platform = memoryThreads(2, () => "silence");
    const threads = await ready(platform);
    vi.useFakeTimers();
    const [made] = threads.share(0, x, [64, 64]);
    for (let i = 0; i < 11; i++) {
      threads.share(0, x, [64, 64, 64, 64]);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(await made).toBeUndefined();
    expect(threads.status.reason).toBe("a thread made nothing in 10 s");
  });

  it("that makes something now and then is left alone", async () => {
    const platform = memoryThreads(2, (job) => (job % 2 === 0 ? "silence" : "answer"));
    const threads = await ready(platform);
    vi.useFakeTimers();
    const [slow] = threads.share(0, x, [64, 64]);
    for (let i = 0; i < 4; i++) {
      await vi.advanceTimersByTimeAsync(7_000);
      platform.started[0].deliver();
      threads.share(0, x, [16, 64, 64]);
      await vi.advanceTimersByTimeAsync(10);
    }
    expect((await slow!)?.vectors).toBe(64);
    expect(threads.status).toEqual({ threads: 1 });
  });
});

describe("dispose", () => {
  it("ends threads, fails what they are at, and starts none", async () => {
    const platform = memoryThreads(2, () => "silence");
    const threads = await ready(platform);
    const [made] = threads.share(0, x, [64, 64]);
    threads.dispose();
    await expect(made).rejects.toMatchObject({ code: "connection_lost" });
    expect(platform.started[0].isEnded).toBe(true);
    expect(threads.start()).toBe(0);
    expect(isTheirs(threads.share(0, x, [64, 64]))).toEqual([false, false]);
    expect(platform.started).toHaveLength(1);
  });
});
