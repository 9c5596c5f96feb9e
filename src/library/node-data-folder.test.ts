/** What opening a data folder takes it gives back when it fails, and keeps while it is open. */

import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { keyIsLive } from "../../test/support/store-subjects.ts";
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

it.skipIf(process.platform !== "linux")(
  "a journal whose flush has failed does not go on with its keys",
  async () => {
    const first = await open();
    const keyId = await first.store.allocateKey("ada");
    const path = join(dir, "usage.journal");
    first.store.reserve({
      account: "ada",
      adapter: "law",
      scope: '["law"]',
      digest: new Uint8Array(16),
      vectors: 1,
      nowMs: Date.now(),
      keyUse: { keyId, limit: 10 },
    });
    // The next flush fails as on a broken disk; then the system may drop what was not written, and say so once.
    const fd = readdirSync("/proc/self/fd").find((name) => linkOf(`/proc/self/fd/${name}`) === path);
    const copy = openSync(path, "r+");
    closeSync(Number(fd));
    await expect(first.store.check()).rejects.toMatchObject({ code: "io_failed" });
    // From here on every call works again.
    expect(dupTo(copy, Number(fd), path)).toBe(true);
    first.close();
    const again = await open();
    expect(await keyIsLive(again.store, "ada", keyId)).toBe(false);
    again.close();
  },
);

it.skipIf(process.platform !== "linux")(
  "a journal whose tail is no record does not go on with its keys, whatever its mark says",
  async () => {
    const first = await open();
    const keyId = await first.store.allocateKey("ada");
    first.close();
    const path = join(dir, "usage.journal");
    const mark = join(dir, "usage.mark");
    const markOfNow = (former: string) => {
      const { dev, ino, size, ctimeNs } = statSync(path, { bigint: true });
      return [former.split(" ")[0], dev, ino, size, ctimeNs].join(" ");
    };
    // That the mark is made as a run makes it: else this shows nothing.
    const former = readFileSync(mark, "latin1");
    expect(markOfNow(former)).toBe(former);
    appendFileSync(path, new Uint8Array(5));
    writeFileSync(mark, markOfNow(former));
    const again = await open();
    expect(again.droppedBytes).toBe(5);
    expect(await keyIsLive(again.store, "ada", keyId)).toBe(false);
    again.close();
  },
);

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** Opens the file under the lowest free number, which is that of the one that was closed. */
function dupTo(copy: number, fd: number, path: string): boolean {
  const opened: number[] = [];
  for (;;) {
    const next = openSync(path, "r+");
    if (next === fd) break;
    opened.push(next);
    if (opened.length > 200) return false;
  }
  for (const each of [copy, ...opened]) closeSync(each);
  return true;
}
