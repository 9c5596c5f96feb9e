import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joinChunks } from "./chunk-joiner.ts";
import { FrameProgress } from "./frame-progress.ts";

function frame(length: number, first = 0x82): Buffer {
  const head = Buffer.alloc(14);
  head[0] = first;
  head[1] = 0x80 | 127;
  head.writeUInt32BE(length, 6);
  return Buffer.concat([head, Buffer.alloc(length, length)]);
}

/** What reaches the listener that was there before, and the largest cost that was counted. */
function through(chunks: readonly Buffer[]): { passed: Buffer[]; most: number; progress: FrameProgress } {
  const socket = Object.assign(new EventEmitter(), { cork() {}, uncork() {} });
  const passed: Buffer[] = [];
  const progress = new FrameProgress();
  let most = 0;
  socket.on("data", (chunk: Buffer) => passed.push(chunk));
  joinChunks(socket as unknown as Socket, progress, () => (most = Math.max(most, progress.incompleteCost)));
  for (const chunk of chunks) socket.emit("data", chunk);
  return { passed, most, progress };
}

describe("joinChunks", () => {
  it("passes the same bytes on, however they are cut, and all of them when a frame is complete", () => {
    const lengths = fc.array(
      fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 60_000 })),
      {
        minLength: 1,
        maxLength: 5,
      },
    );
    const cuts = fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 70_000 })), {
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(lengths, cuts, (frames, sizes) => {
        const all = Buffer.concat(frames.map((length) => frame(length)));
        const chunks: Buffer[] = [];
        for (let at = 0, i = 0; at < all.length; i++) {
          const size = i < 1_000 ? sizes[i % sizes.length] : all.length;
          chunks.push(all.subarray(at, at + size));
          at += size;
        }
        expect(Buffer.concat(through(chunks).passed).equals(all)).toBe(true);
      }),
    );
  });

  it("holds back what is written while a chunk of several messages is handled, also where that fails", () => {
    let corks = 0;
    const socket = Object.assign(new EventEmitter(), { cork: () => corks++, uncork: () => corks-- });
    const seen: number[] = [];
    socket.on("data", () => {
      seen.push(corks);
      if (seen.length === 4) throw new Error("bad");
    });
    joinChunks(socket as unknown as Socket, new FrameProgress(), () => {});
    const [one, two] = [frame(100), Buffer.concat([frame(100), frame(200)])];
    for (const chunk of [one, two, one]) socket.emit("data", chunk);
    expect(() => socket.emit("data", two)).toThrow("bad");
    expect(seen).toEqual([0, 1, 0, 1]);
    expect(corks).toBe(0);
  });

  it("makes few chunks of bytes that come one at a time", () => {
    const all = frame(100_000);
    const { passed } = through([...all].map((byte) => Buffer.from([byte])));
    expect(passed.length).toBeLessThan(10);
    expect(Buffer.concat(passed).equals(all)).toBe(true);
  });

  it("copies nothing of whole frames and large chunks, and lets go of a chunk for a small rest", () => {
    const whole = frame(20_000);
    const large = Buffer.concat([frame(50_000), frame(50_000)]);
    const [first, ...rest] = through([whole, large.subarray(0, 50_000), large.subarray(50_000)]).passed;
    expect([first, ...rest].every((chunk) => [whole.buffer, large.buffer].includes(chunk.buffer))).toBe(true);
    const begun = Buffer.concat([whole, frame(1_000).subarray(0, 20)]);
    const { passed } = through([begun]);
    expect(passed.map(({ length }) => length)).toEqual([whole.length]);
  });

  it("counts each frame of a message, and control frames within it", () => {
    const pieces = Array.from({ length: 1_000 }, (_, i) => frame(1, i === 0 ? 0x02 : 0x00));
    expect(through(pieces).most).toBeGreaterThan(1_000 * 300);
    const pings = Array.from({ length: 100 }, () => frame(100, 0x89));
    expect(through([pieces[0], ...pings]).most).toBeGreaterThan(10_000);
    expect(through(pings).progress.incompleteCost).toBe(0);
  });
});
