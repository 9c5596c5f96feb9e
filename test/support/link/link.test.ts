import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { Lane } from "./lane.ts";
import { type LineOptions, type Link, startLink } from "./link.ts";

describe("a lane", () => {
  it("delivers a packet when its last byte has left and travelled", () => {
    const lane = new Lane<string>({ rate: 100, delayMs: 15 });
    lane.send("a", new Uint8Array(1000), 50);
    expect(lane.next).toBe(75);
    expect(lane.arrived(74.9)).toEqual([]);
    expect(lane.arrived(75)).toHaveLength(1);
    expect(lane.next).toBeUndefined();
  });

  it("sends one packet after another: bytes/rate for all, whoever sends them", () => {
    const lane = new Lane<string>({ rate: 100, delayMs: 15 });
    lane.send("a", new Uint8Array(1000), 0);
    lane.send("b", new Uint8Array(1000), 0);
    expect(lane.arrived(25).map(({ target }) => target)).toEqual(["a"]);
    expect(lane.arrived(34)).toEqual([]);
    expect(lane.arrived(35).map(({ target }) => target)).toEqual(["b"]);
  });

  it("keeps every byte in order, however it is sent and whenever it is asked", () => {
    const sends = fc.array(
      fc.record({
        target: fc.constantFrom("a", "b"),
        length: fc.integer({ min: 0, max: 5000 }),
        wait: fc.double({ min: 0, max: 20, noNaN: true }),
      }),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(sends, fc.boolean(), (plan, asksOften) => {
        const lane = new Lane<string>({ rate: 200, delayMs: 5 });
        const [sent, got] = [new Map<string, number[]>(), new Map<string, number[]>()];
        const take = (now: number) => {
          for (const { target, bytes } of lane.arrived(now))
            got.set(target, [...(got.get(target) ?? []), ...bytes]);
        };
        let now = 0;
        for (const { target, length, wait } of plan) {
          now += wait;
          const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 255);
          sent.set(target, [...(sent.get(target) ?? []), ...bytes]);
          lane.send(target, bytes, now);
          if (asksOften) take(now);
        }
        take(Number.POSITIVE_INFINITY);
        for (const [target, bytes] of sent) expect(got.get(target) ?? []).toEqual(bytes);
      }),
      { numRuns: 50 },
    );
  });

  it("is full above its queue, until half of it has left", () => {
    const lane = new Lane<string>({ rate: 1000, delayMs: 5 });
    lane.send("a", new Uint8Array(300 << 10), 0);
    expect(lane.isFull(0, false)).toBe(true);
    expect(lane.isFull(100, false)).toBe(false);
    expect(lane.isFull(100, true)).toBe(true);
    expect(lane.isFull(200, true)).toBe(false);
  });
});

describe("a link", () => {
  const cleanUp: (() => unknown)[] = [];
  afterEach(async () => {
    for (const step of cleanUp.splice(0).reverse()) await step();
  });

  /** A server that says back what it hears, behind a line. */
  async function echo(line: LineOptions): Promise<{ link: Link; socket: Socket }> {
    const server = createServer((socket) => socket.pipe(socket));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanUp.push(() => server.close());
    const link = await startLink(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, line);
    cleanUp.push(() => link.close());
    const socket = connect(Number(new URL(link.url).port), "127.0.0.1");
    await once(socket, "connect");
    socket.setNoDelay(true);
    cleanUp.push(() => socket.destroy());
    return { link, socket };
  }

  /** Sends bytes; when all have come back, what came and after how many milliseconds. */
  async function exchange(socket: Socket, bytes: Buffer): Promise<{ got: Buffer; ms: number }> {
    const start = performance.now();
    const parts: Buffer[] = [];
    let left = bytes.length;
    const done = new Promise<void>((resolve) => {
      socket.on("data", (part: Buffer) => {
        parts.push(part);
        left -= part.length;
        if (left <= 0) resolve();
      });
    });
    socket.write(bytes);
    await done;
    socket.removeAllListeners("data");
    return { got: Buffer.concat(parts), ms: performance.now() - start };
  }

  it("takes a round trip at least, and bytes over rate each way", async () => {
    const { link, socket } = await echo({ roundTripMs: 20, upMbits: 8, downMbits: 80 });
    await exchange(socket, Buffer.from("warm"));
    expect((await exchange(socket, Buffer.from("x"))).ms).toBeGreaterThanOrEqual(20);
    // 200 kB: 200 ms up at 1 MB/s, and at the server in pieces, each of which goes back while the next one comes.
    const bytes = Buffer.from(Uint8Array.from({ length: 200_000 }, (_, i) => i % 251));
    const { got, ms } = await exchange(socket, bytes);
    expect(got.equals(bytes)).toBe(true);
    expect(ms).toBeGreaterThanOrEqual(219);
    expect(await link.counts()).toEqual({ bytesUp: 200_005, bytesDown: 200_005, connections: 1 });
  });

  it("carries megabytes through its bounded queue unchanged", async () => {
    const { socket } = await echo({ roundTripMs: 5, upMbits: 400, downMbits: 200 });
    const bytes = Buffer.from(Uint8Array.from({ length: 4_000_000 }, (_, i) => (i * i) % 253));
    const { got } = await exchange(socket, bytes);
    expect(got.equals(bytes)).toBe(true);
  });

  it("passes on the end of a connection after what is on its way, and its loss", async () => {
    const { socket } = await echo({ roundTripMs: 10 });
    const parts: Buffer[] = [];
    socket.on("data", (part: Buffer) => parts.push(part));
    socket.end("last words");
    await once(socket, "end");
    expect(Buffer.concat(parts).toString()).toBe("last words");

    const { link, socket: other } = await echo({ roundTripMs: 10 });
    // Not once(…, "close"): that one fails at a reset, which this may be.
    const closed = new Promise((resolve) => other.on("close", resolve));
    other.on("error", () => {});
    await link.close();
    await closed;
  });
});
