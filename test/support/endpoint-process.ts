/** `tacet serve` in a separate process. */
import { tmpdir } from "node:os";
import { spawnTacet, stopTacet } from "./tacet-process.ts";

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
  const serve = await spawnTacet(["serve", "--port", "0", "--no-cache", ...args], { cwd: tmpdir() });
  return {
    url: serve.url,
    output: () => serve.log() + serve.out(),
    stop: async (signal = "SIGTERM") => await serve.kill(signal),
  };
}

/** Ends every endpoint that this test file has started. */
export const stopEndpoints = stopTacet;
