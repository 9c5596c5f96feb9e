/** A provider in a separate process, on a free port of this machine. It is given the state folder, nothing else. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { TacetError } from "../../base/errors.ts";
import { onExit } from "./interrupt.ts";

/** main.js when built, main.ts when run from source. */
const MAIN = fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url));
const START_MS = 20_000;
const STOP_MS = 3_000;

export interface ProviderProcess {
  readonly pid: number;
  readonly url: string;
  stop(): Promise<void>;
}

/** @param flags more of `tacet provider` @throws TacetError internal if it does not start */
export async function startProvider(state: string, flags: readonly string[] = []): Promise<ProviderProcess> {
  // The IPC channel carries nothing: the provider stops when this end goes away, however it goes.
  const child = spawn(
    process.execPath,
    [...process.execArgv, MAIN, "provider", "--state", state, "--port", "0", ...flags],
    {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      cwd: state,
    },
  );
  const forget = onExit(() => child.kill("SIGKILL"));
  try {
    return {
      pid: child.pid ?? 0,
      url: await urlOf(child),
      async stop() {
        child.kill("SIGTERM");
        const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
        if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
        clearTimeout(timer);
        forget();
      },
    };
  } catch (error) {
    child.kill("SIGKILL");
    forget();
    throw error;
  }
}

/** The URL of the line "listening on URL". */
function urlOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = "";
    let errors = "";
    const fail = (): void => {
      const error = /^error: (.*)$/m.exec(errors)?.[1];
      reject(new TacetError("internal", `the provider process did not start${error ? `: ${error}` : ""}`));
    };
    const timer = setTimeout(fail, START_MS);
    child.once("error", fail);
    child.once("exit", fail);
    child.stderr?.on("data", (data: Buffer) => {
      errors = (errors + data.toString("utf8")).slice(-4096);
    });
    child.stdout?.on("data", (data: Buffer) => {
      output = (output + data.toString("utf8")).slice(-4096);
      const url = /^listening on (\S+)$/m.exec(output)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      child.off("exit", fail);
      resolve(url);
    });
  });
}
