import { createHash } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FileCheckOptions } from "../../../base/platform.ts";
import { nodeFileCache } from "./file-cache.ts";

let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), "tacet-files-")), "cache");
});
afterEach(() => rmSync(join(dir, ".."), { recursive: true, force: true }));

async function make(name: string, text: string): Promise<void> {
  const writer = await nodeFileCache(dir).create(name, text.length);
  await writer.append(new TextEncoder().encode(text));
  await writer.finish();
  await writer.discard();
}

async function check(name: string, options?: FileCheckOptions): Promise<boolean | undefined> {
  return await (await nodeFileCache(dir).check(name, options))?.isWhole;
}

describe("nodeFileCache", () => {
  it("keeps a file with its SHA-256 behind it", async () => {
    const cache = nodeFileCache(dir);
    expect(await check("a")).toBeUndefined();
    await make("a", "some weights");
    const bytes = readFileSync(join(dir, "a"));
    expect(bytes.subarray(12)).toEqual(createHash("sha256").update("some weights").digest());
    const seen: number[] = [];
    expect(await check("a", { onProgress: (fraction) => seen.push(fraction) })).toBe(true);
    expect(seen).toEqual([1]);
    expect(new TextDecoder().decode(await cache.files.read("a", 0, 12))).toBe("some weights");
  });

  it("removes one that is damaged, and one too short for a digest", async () => {
    await make("a", "some weights");
    for (const bytes of [Buffer.concat([readFileSync(join(dir, "a")), Buffer.of(0)]), Buffer.alloc(10)]) {
      writeFileSync(join(dir, "a"), bytes);
      expect(await check("a")).toBe(false);
      expect(readdirSync(dir)).toEqual([]);
    }
  });

  it("says of large ones too whether they are whole", async () => {
    await make("a", "x".repeat(65 << 20));
    expect(await check("a")).toBe(true);
    const file = await open(join(dir, "a"), "r+");
    await file.write("y", 40 << 20);
    await file.close();
    expect(await check("a")).toBe(false);
    expect(readdirSync(dir)).toEqual([]);
  });

  it("shows nothing before it is finished, and nothing when it is given up", async () => {
    const cache = nodeFileCache(dir);
    const writer = await cache.create("a", 3);
    await writer.append(Uint8Array.of(1, 2, 3));
    expect(await check("a")).toBeUndefined();
    await writer.discard();
    await writer.discard();
    expect(readdirSync(dir)).toEqual([]);
  });

  it("clears up after processes that are no more, and leaves those at work alone", async () => {
    mkdirSync(dir);
    writeFileSync(join(dir, "a.0011.tmp"), "");
    writeFileSync(join(dir, "b.0011.tmp"), "");
    utimesSync(join(dir, "a.0011.tmp"), 1, 1);
    utimesSync(join(dir, "b.0011.tmp"), 1, 1);
    writeFileSync(join(dir, "a.0022.tmp"), "");
    await make("a", "x");
    expect(readdirSync(dir)).toEqual(["a", "a.0022.tmp", "b.0011.tmp"]);
  });

  it("says that the disk has no room before it writes", async () => {
    await expect(nodeFileCache(dir).create("a", 2 ** 60)).rejects.toMatchObject({
      code: "io_failed",
      message: expect.stringMatching(/are needed, the disk has \d+ MB$/),
      hint: expect.stringMatching(/XDG_CACHE_HOME/),
    });
    expect(readdirSync(dir)).toEqual([]);
  });

  it("says which folder it cannot make, and takes no name that is a path", async () => {
    writeFileSync(join(dir, "..", "file"), "");
    const blocked = nodeFileCache(join(dir, "..", "file"));
    await expect(blocked.create("a", 1)).rejects.toMatchObject({ code: "io_failed" });
    await expect(nodeFileCache(dir).check("../a")).rejects.toThrow(RangeError);
  });

  it("stops checking on request", async () => {
    await make("a", "x".repeat(100));
    await expect(check("a", { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
  });
});
