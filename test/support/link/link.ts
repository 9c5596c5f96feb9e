/**
 * A line to a provider in this machine: a TCP relay in a separate process, with a round trip time and a rate each way,
 * that tests and benches put between a client and a provider. What it does not have: loss, jitter, TCP's slow start.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { RelayCounts, RelayMessage, RelayOptions } from "./relay.ts";

export interface LineOptions {
  /** Milliseconds there and back. */
  readonly roundTripMs: number;
  /** Megabits a second, of TCP's payload; absent: no limit. */
  readonly upMbits?: number;
  readonly downMbits?: number;
}

export interface Link {
  /** The target's URL, with the relay's port. */
  readonly url: string;
  /** What has passed so far. */
  counts(): Promise<RelayCounts>;
  /** Ends the process, and so every connection. */
  close(): Promise<void>;
}

const RELAY = fileURLToPath(new URL("relay.ts", import.meta.url));
/** Bytes a millisecond. */
const rateOf = (mbits: number | undefined): number | null =>
  mbits === undefined ? null : (mbits * 1e6) / 8000;

/** @param targetUrl of a server that is reached over the line */
export async function startLink(
  targetUrl: string,
  { roundTripMs, upMbits, downMbits }: LineOptions,
): Promise<Link> {
  const url = new URL(targetUrl);
  const options: RelayOptions = {
    host: url.hostname,
    port: Number(url.port),
    roundTripMs,
    upRate: rateOf(upMbits),
    downRate: rateOf(downMbits),
  };
  const child = fork(RELAY, [JSON.stringify(options)], { execArgv: ["--import", "tsx"] });
  const { port } = (await next(child)) as { readonly port: number };
  url.port = String(port);
  return {
    url: url.href.replace(/\/$/, ""),
    async counts() {
      child.send("counts");
      return (await next(child)) as RelayCounts;
    },
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** @throws Error if the process ends instead */
async function next(child: ChildProcess): Promise<RelayMessage> {
  const ended = once(child, "exit").then(() => {
    throw new Error("the relay has ended");
  });
  const [message] = await Promise.race([once(child, "message"), ended]);
  return message as RelayMessage;
}
