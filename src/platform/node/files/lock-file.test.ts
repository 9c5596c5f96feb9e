/** One process at a time, with real processes, killed ones and ones in other pid namespaces under one host name. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type LockOptions, lockFile } from "./lock-file.ts";

const BUILT = new URL("../../../../dist/platform/node/files/lock-file.js", import.meta.url).href;
/** Takes the lock, says so or why not, and keeps it until its stdin ends. */
const HOLDER = `
import { lockFile } from ${JSON.stringify(BUILT)};
try {
  const lock = await lockFile(process.argv[1], { what: "taken", staleMs: Number(process.argv[2]) });
  console.log("held by " + process.pid);
  process.stdin.resume().once("end", () => { lock.release(); process.exit(); });
} catch (error) {
  console.log(error.code + ": " + error.message);
  process.exit();
}`;
const NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
const hasNamespaces = spawnSync(NAMESPACE[0], [...NAMESPACE.slice(1), "true"]).status === 0;
const hasProc = existsSync("/proc/self/stat");
/** Longer than any test: whoever is taken for ended before it was not taken so for its touch time. */
const LONG_MS = 3_600_000;

let dir: string;
let path: string;
const children = new Set<ChildProcess>();
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tacet-lock-"));
  path = join(dir, "lock");
});
afterEach(async () => {
  await Promise.all([...children].map(kill));
  rmSync(dir, { recursive: true });
});

const lock = (options: Partial<LockOptions> = {}) =>
  lockFile(path, { what: "somebody has it", staleMs: LONG_MS, ...options });

function start(command: readonly string[]): ChildProcess {
  const child = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

/** A process that takes the lock, and the first line that it says of it. */
async function hold(prefix: readonly string[] = [], staleMs = LONG_MS) {
  const script = ["--input-type=module", "-e", HOLDER, path, String(staleMs)];
  const child = start([...prefix, process.execPath, ...script]);
  const [line] = (await once(child.stdout!.setEncoding("utf8"), "data")) as [string];
  return { child, line: line.trim() };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

describe("lockFile", () => {
  it("holds one at a time, says who has it and what for, and leaves nothing behind", async () => {
    const first = await lock();
    expect(first.isHeld()).toBe(true);
    await expect(lock()).rejects.toMatchObject({
      code: "bad_state",
      message: `somebody has it (process ${process.pid})`,
      hint: expect.stringMatching(/Delete .*lock only if you know that nothing uses it any more/),
    });
    first.release();
    expect(first.isHeld()).toBe(false);
    (await lock()).release();
    expect(readdirSync(dir)).toEqual([]);
  });

  it("is waited for, and the wait can be given up", async () => {
    const first = await lock();
    const second = lock({ waitMs: LONG_MS });
    first.release();
    const held = await second;
    const signal = AbortSignal.abort(new RangeError("enough"));
    await expect(lock({ waitMs: LONG_MS, signal })).rejects.toThrow("enough");
    held.release();
  });

  it("excludes another process while that lives", async () => {
    const { child, line } = await hold();
    expect(line).toBe(`held by ${child.pid}`);
    await expect(lock()).rejects.toMatchObject({ message: `somebody has it (process ${child.pid})` });
    const closed = once(child, "close");
    child.stdin!.end();
    await closed;
    (await lock()).release();
  });

  it.runIf(hasProc)("is taken over at once from a killed process, also if its pid lives again", async () => {
    const { child } = await hold();
    const left = readFileSync(path, "utf8");
    await kill(child);
    const next = await lock();
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ pid: process.pid });
    next.release();
    const other = start(["sleep", "600"]);
    writeFileSync(path, JSON.stringify({ ...JSON.parse(left), pid: other.pid }));
    (await lock()).release();
  });

  it("of a holder that nothing is known of is taken over when nobody touches it, and not before", async () => {
    const strangers = [
      JSON.stringify({ pid: 1, host: "elsewhere", space: "boot pid time", started: "1", nonce: "n" }),
      JSON.stringify({ pid: 1, host: hostname(), space: null, started: null, nonce: "n" }),
      JSON.stringify({ pid: process.pid, host: hostname(), nonce: "n" }),
      "",
    ];
    for (const text of strangers) {
      writeFileSync(path, text);
      let seconds = 1;
      const touching = setInterval(() => utimesSync(path, seconds, seconds++), 20);
      await expect(lock({ staleMs: 2_000 })).rejects.toMatchObject({ code: "bad_state" });
      clearInterval(touching);
      const watched: number[] = [];
      (await lock({ staleMs: 200, onWatch: (ms) => watched.push(ms) })).release();
      expect(watched).toEqual([200]);
    }
  });

  it.runIf(hasNamespaces)("excludes process 1 of another container with the same host name", async () => {
    const first = await hold(NAMESPACE);
    expect(first.line).toBe("held by 1");
    const second = await hold(NAMESPACE);
    const where = `on ${hostname()}, in another container or on another machine`;
    expect(second.line).toBe(`bad_state: taken (process 1 ${where})`);
    await expect(lock()).rejects.toMatchObject({ message: `somebody has it (process 1 ${where})` });
    await kill(first.child);
    // It touched every 2 s.
    const third = await hold(NAMESPACE, 5_000);
    expect(third.line).toBe("held by 1");
  });

  it("is never two processes', however many want it and are killed holding it", async () => {
    const { child } = await hold();
    await kill(child);
    const count = join(dir, "count");
    writeFileSync(count, "0");
    const each = 12;
    const script = `
      import { readFileSync, writeFileSync } from "node:fs";
      import { lockFile } from ${JSON.stringify(BUILT)};
      const [path, count, dies] = process.argv.slice(1);
      for (let i = 0; i < ${each}; i++) {
        const lock = await lockFile(path, { what: "", waitMs: ${LONG_MS}, staleMs: 5_000 });
        if (dies === "dies" && i === 2) process.kill(process.pid, "SIGKILL");
        const before = Number(readFileSync(count, "utf8"));
        await new Promise((resolve) => setTimeout(resolve, 2));
        writeFileSync(count, String(before + 1));
        lock.release();
      }`;
    const roles = ["", "", "", "dies", "dies", "dies"];
    const codes = await Promise.all(
      roles.map(async (role) => {
        const args = ["--input-type=module", "-e", script, path, count, role];
        return (await once(start([process.execPath, ...args]), "close"))[0];
      }),
    );
    expect(codes).toEqual([0, 0, 0, null, null, null]);
    expect(Number(readFileSync(count, "utf8"))).toBe(3 * each + 3 * 2);
    expect(readdirSync(dir).filter((name) => name.includes("takeover"))).toEqual([]);
  });

  it("tells its holder when it was taken away", async () => {
    const lost = new Promise<void>((resolve) => {
      void lock({ onLost: resolve }).then((held) => {
        writeFileSync(path, "");
        expect(held.isHeld()).toBe(false);
      });
    });
    await lost;
    expect(readFileSync(path, "utf8")).toBe("");
  });

  it("says why it cannot be made", async () => {
    await expect(lockFile(join(dir, "none", "lock"), { what: "" })).rejects.toMatchObject({
      code: "io_failed",
      message: expect.stringContaining("(ENOENT)"),
    });
  });
});

if (!hasNamespaces)
  console.warn(`${fileURLToPath(import.meta.url)}: no pid namespaces here, one test left out`);
