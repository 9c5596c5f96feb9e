import { describe, expect, it } from "vitest";
import { Kernels } from "../ring/kernels.ts";
import { BufferPool } from "./buffer-pool.ts";

describe("BufferPool", () => {
  it("gives aligned buffers that do not overlap", () => {
    const pool = new BufferPool(Kernels.load());
    const taken: [number, number][] = [];
    for (const bytes of [0, 1, 255, 256, 257, 1000, 4096, 70_000, 1]) {
      const address = pool.acquire(bytes);
      expect(address % 16).toBe(0);
      for (const [start, end] of taken) expect(address >= end || address + bytes <= start).toBe(true);
      taken.push([address, address + bytes]);
    }
  });

  it("wipes what comes back and hands it out again for the same size class", () => {
    const kernels = Kernels.load();
    const pool = new BufferPool(kernels);
    const first = pool.acquire(300);
    kernels.bytes(first, 300).fill(0xab);
    pool.release(first, 300);
    expect(kernels.bytes(first, 300).every((byte) => byte === 0)).toBe(true);
    expect(pool.acquire(256)).not.toBe(first);
    expect(pool.acquire(512)).toBe(first);
    expect(pool.acquire(512)).not.toBe(first);
  });

  it("does not grow while buffers come and go", () => {
    const kernels = Kernels.load();
    const pool = new BufferPool(kernels);
    const round = () => {
      const addresses = [100, 5000, 5000, 200_000].map((bytes) => [pool.acquire(bytes), bytes] as const);
      for (const [address, bytes] of addresses) pool.release(address, bytes);
    };
    round();
    const top = kernels.allocate(0);
    for (let i = 0; i < 50; i++) round();
    expect(kernels.allocate(0)).toBe(top);
  });
});
