/** A real redis-server of a test's own, on a free port and in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.ts";

/** false, or why tests with a Redis server are skipped: goes into their names. */
export const NO_REDIS: false | string =
  spawnSync("redis-server", ["--version"]).status === 0 ? false : " (skipped: redis-server is not installed)";

// The reporter counts what is skipped and does not say why.
if (NO_REDIS) console.warn(`tests with a Redis server are skipped: redis-server is not installed`);

const START_MS = 20_000;
const running = new Set<ChildProcess>();
const folders = new Set<string>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  readonly folder: string;
  /** kill -9; what is in the folder stays. */
  kill(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

export async function startRedis(
  options: { port?: number; folder?: string; args?: readonly string[] } = {},
): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "tacet-redis-"));
  const own = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
  const child = spawn("redis-server", [...own, ...(options.args ?? [])], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  folders.add(folder);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.once("exit", () => running.delete(child));
  await new Promise<void>((resolve, reject) => {
    let log = "";
    const timer = setTimeout(() => reject(new Error(`redis-server did not start: ${log}`)), START_MS);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      log += text;
      if (!/Ready to accept connections/.test(log)) return;
      clearTimeout(timer);
      resolve();
    });
    child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}: ${log}`)));
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    folder,
    kill,
    pause: () => child.kill("SIGSTOP"),
    resume: () => child.kill("SIGCONT"),
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Ends every server that this test file has started, also after a test that failed. */
export async function stopRedisServers(): Promise<void> {
  await Promise.all(
    [...running].map((child) => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      return ended;
    }),
  );
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
