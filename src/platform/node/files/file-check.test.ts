/** A file that is checked in a thread: the built script's own answers, and what becomes of threads that fail. */
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { isWholeBeside } from "./file-check.ts";

const BUILT = new URL("../../../../dist/platform/node/files/whole-file-thread.js", import.meta.url);

let dir: string;
let file: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "tacet-check-"));
  file = join(dir, "file");
  // Two and a half reads.
  const bytes = Buffer.alloc(10 << 20, "weights");
  writeFileSync(file, Buffer.concat([bytes, createHash("sha256").update(bytes).digest()]));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A script that does something else instead of an answer. */
function scriptThat(name: string, does: string): URL {
  const path = join(dir, `${name}.mjs`);
  writeFileSync(path, `import { parentPort } from "node:worker_threads";\n${does}`);
  return pathToFileURL(path);
}

it("is told whole by the thread, which says how far it is", async () => {
  const seen: number[] = [];
  const onProgress = (fraction: number) => seen.push(fraction);
  expect(await isWholeBeside(file, { onProgress }, BUILT)).toBe(true);
  expect(seen).toEqual([expect.closeTo(0.4), expect.closeTo(0.8), 1]);
});

it("is given to the script that lies beside the built module", async () => {
  const built = await import(new URL("file-check.js", BUILT).href);
  expect(built.FILE_THREAD.href).toBe(BUILT.href);
  expect(existsSync(BUILT)).toBe(true);
});

it("that is cut off is told damaged by the thread, and one that can't be read is an error", async () => {
  const cut = join(dir, "cut");
  writeFileSync(cut, Buffer.alloc(100));
  for (const length of [100, 32, 31, 0]) {
    truncateSync(cut, length);
    expect(await isWholeBeside(cut, {}, BUILT)).toBe(false);
  }
  await expect(isWholeBeside(join(dir, "none"), {}, BUILT)).rejects.toMatchObject({ code: "ENOENT" });
  await expect(isWholeBeside(dir, {}, BUILT)).rejects.toMatchObject({ code: "EISDIR" });
});

it.each([
  ["can't be loaded", () => pathToFileURL(join(dir, "no-such-script.js"))],
  ["ends", () => scriptThat("ends", "process.exit(0);")],
  ["fails", () => scriptThat("fails", "throw new Error('what it worked on');")],
])("is checked here where the thread %s", async (_, script) => {
  const seen: number[] = [];
  const onProgress = (fraction: number) => seen.push(fraction);
  expect(await isWholeBeside(file, { onProgress }, script())).toBe(true);
  expect(seen).toHaveLength(3);
});

it("is checked in the thread, not here", async () => {
  const script = scriptThat("answers", "parentPort.postMessage({ isWhole: false });");
  expect(await isWholeBeside(file, {}, script)).toBe(false);
});

it("is left alone on request, before the check and during it", async () => {
  const before = isWholeBeside(file, { signal: AbortSignal.abort() }, BUILT);
  await expect(before).rejects.toMatchObject({ code: "aborted" });
  const controller = new AbortController();
  const silent = scriptThat(
    "silent",
    "parentPort.postMessage({ fraction: 0.5 }); setInterval(() => {}, 1000);",
  );
  const during = isWholeBeside(
    file,
    { signal: controller.signal, onProgress: () => controller.abort() },
    silent,
  );
  await expect(during).rejects.toMatchObject({ code: "aborted" });
});
