/** The command `tacet` in a separate process, as a user starts it. Run `npm run build` first: it is dist/ that runs. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const MAIN = join(fileURLToPath(new URL("../..", import.meta.url)), "dist/cli/main.js");
const START_MS = 60_000;
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export type StopSignal = "SIGKILL" | "SIGTERM" | "SIGINT" | "SIGSTOP" | "SIGCONT";

export interface TacetProcess {
  readonly child: ChildProcess;
  /** What it listens on. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Everything it has written to stderr. */
  log(): string;
  /** Everything it has written to stdout. */
  out(): string;
  /** Resident memory in bytes. */
  memory(): number;
  isRunning(): boolean;
  /** Null while it runs, and where a signal ended it. */
  exitCode(): number | null;
  /** With a signal that ends it, resolves to the exit code when it has ended; null where the signal ended it. */
  kill(signal?: StopSignal): Promise<number | null>;
}

/** Starts a command that serves, and waits for its line "listening on URL". */
export async function spawnTacet(
  args: readonly string[],
  { cwd, env }: { readonly cwd?: string; readonly env?: Readonly<Record<string, string | undefined>> } = {},
): Promise<TacetProcess> {
  if (!existsSync(MAIN)) throw new Error(`${MAIN} is not there: run 'npm run build'`);
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env: { ...process.env, ...env } }),
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let [log, out] = ["", ""];
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const url = await new Promise<string>((resolve, reject) => {
    const name = `tacet ${args[0]}`;
    const timer = setTimeout(() => reject(new Error(`${name} did not start: ${log}${out}`)), START_MS);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
      const found = /listening on ((?:wss?|https?):\/\/\S+)/.exec(out)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    });
    child.once("exit", (code) => reject(new Error(`${name} ended with ${code}: ${log}`)));
  });
  return {
    child,
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
      if (!running.has(child)) return child.exitCode;
      const ended = once(child, "exit");
      child.kill(signal);
      if (signal === "SIGSTOP" || signal === "SIGCONT") return null;
      const [code] = (await ended) as [number | null];
      return code;
    },
  };
}

export interface TacetResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. `env` is all of its environment; by default this process's. */
export async function runTacet(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<TacetResult> {
  const child = spawn(process.execPath, [MAIN, ...args], { ...options, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, stdout, stderr };
}

/** Ends every process that this test file has started. */
export async function stopTacet(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }),
  );
}
