/** `tacet serve` in a process of its own, as a user starts it. Run `npm run build` first: it is dist/ that runs. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MAIN = join(fileURLToPath(new URL("../..", import.meta.url)), "dist/cli/main.js");
const START_MS = 60_000;
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export interface EndpointProcess {
  /** With "/v1" at its end. */
  readonly url: string;
  /** Everything it has written. */
  output(): string;
  /** Exit code; of a process that was killed null. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<number | null>;
}

/** @param args options of `tacet serve`; --port is given here */
export async function startEndpoint(...args: string[]): Promise<EndpointProcess> {
  const child = spawn(process.execPath, [MAIN, "serve", "--port", "0", "--no-cache", ...args], {
    cwd: tmpdir(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let output = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the endpoint did not start: ${output}`)), START_MS);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      const match = /listening on (http:\/\/\S+)/.exec(output);
      if (match === null) return;
      clearTimeout(timer);
      resolve(match[1]);
    });
    child.once("exit", (code) => reject(new Error(`the endpoint ended with ${code}: ${output}`)));
  });
  return {
    url,
    output: () => output,
    async stop(signal = "SIGTERM") {
      if (!running.has(child)) return child.exitCode;
      const ended = once(child, "exit");
      child.kill(signal);
      const [code] = await ended;
      return code;
    },
  };
}

/** Ends every endpoint that this test file has started. */
export async function stopEndpoints(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }),
  );
}
