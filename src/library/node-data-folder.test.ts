/** What opening a data folder takes it gives back when it fails, and keeps while it is open. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { changeKeys, openDataFolder } from "./node-data-folder.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tacet-data-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const open = () => openDataFolder(dir, {}, { onFault: () => {} });

describe("openDataFolder", () => {
  it.each<[string, (path: string) => void, string]>([
    ["usage.journal", (path) => writeFileSync(path, "no journal"), "bad_state"],
    ["usage.journal", (path) => mkdirSync(path), "io_failed"],
    ["keys.json", (path) => writeFileSync(path, "[]"), "bad_state"],
    ["keys.json", (path) => mkdirSync(path), "io_failed"],
  ])("leaves no lock where %s cannot be read", async (name, spoil, code) => {
    const path = join(dir, name);
    spoil(path);
    await expect(open()).rejects.toMatchObject({ code });
    expect(readdirSync(dir)).not.toContain("lock");
    rmSync(path, { recursive: true });
    (await open()).close();
    expect(readdirSync(dir)).toEqual(["usage.journal", "usage.mark"]);
  });

  it("is refused while it is open", async () => {
    const data = await open();
    await expect(open()).rejects.toMatchObject({
      code: "bad_state",
      message: `another provider uses the data folder ${dir} (process ${process.pid})`,
    });
    data.close();
    (await open()).close();
  });
});

describe("changeKeys", () => {
  it("leaves no lock where the keys cannot be changed", async () => {
    const fails = () =>
      changeKeys(dir, () => {
        throw new RangeError("no");
      });
    await expect(fails()).rejects.toThrow();
    expect(readdirSync(dir)).toEqual([]);
  });
});
