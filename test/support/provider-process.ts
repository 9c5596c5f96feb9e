/** `tacet provider` in a process of its own, as a user starts it. Run `npm run build` first: it is dist/ that runs. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MAIN = join(fileURLToPath(new URL("../..", import.meta.url)), "dist/cli/main.js");
const START_MS = 20_000;
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export interface ProviderProcess {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Everything it has written to stderr: its log. */
  log(): string;
  /** Everything it has written to stdout. */
  out(): string;
  /** Resident memory in bytes. */
  memory(): number;
  isRunning(): boolean;
  /** Null while it runs, and where a signal ended it. */
  exitCode(): number | null;
  kill(signal?: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"): Promise<void>;
}

/** @param args further options of `tacet provider` */
export async function startProvider(
  state: string,
  { port = 0, args = [] }: { port?: number; args?: readonly string[] } = {},
): Promise<ProviderProcess> {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is not there: run 'npm run build'`);
  const child = spawn(
    process.execPath,
    [MAIN, "provider", "--state", state, "--port", String(port), ...args],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  running.add(child);
  child.once("exit", () => running.delete(child));
  let log = "";
  let out = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the provider did not start: ${log}`)), START_MS);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
      const match = /listening on (wss?:\/\/\S+)/.exec(out);
      if (match) {
        clearTimeout(timer);
        resolve(match[1]);
      }
    });
    child.once("exit", (code) => reject(new Error(`the provider ended with ${code}: ${log}`)));
  });
  return {
    url,
    port: Number(new URL(url).port),
    pid: child.pid!,
    log: () => log,
    out: () => out,
    memory: () =>
      Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) * 1024,
    isRunning: () => running.has(child),
    exitCode: () => child.exitCode,
    async kill(signal = "SIGKILL") {
      if (!running.has(child)) return;
      const ends = signal === "SIGKILL" || signal === "SIGTERM";
      const ended = once(child, "exit");
      child.kill(signal);
      if (ends) await ended;
    },
  };
}

/** Ends every provider that this test file has started. */
export async function stopProviders(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }),
  );
}
