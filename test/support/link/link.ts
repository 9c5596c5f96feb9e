/**
 * A line to a provider in this machine: a TCP relay in a separate process, with a round trip time and a rate each way,
 * that tests and benches put between a client and a provider. What it does not have: loss, jitter, TCP's slow start.
 */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { RelayCounts, RelayOptions } from "./relay.ts";
import type { RelayAnswer, RelayRequest } from "./relay-process.ts";

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
  /** Cuts off every connection. */
  close(): Promise<void>;
}

const SCRIPT = fileURLToPath(new URL("relay-process.ts", import.meta.url));
/** Bytes a millisecond. */
const rateOf = (mbits: number | undefined): number | null =>
  mbits === undefined ? null : (mbits * 1e6) / 8000;

/** The relays of all links of this process; to start one takes longer than most tests with a link. */
let relays: ChildProcess | undefined;
let links = 0;

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
  const link = links++;
  const { port } = await ask({ link, ask: "open", options });
  url.port = String(port);
  let closed: Promise<RelayAnswer> | undefined;
  return {
    url: url.href.replace(/\/$/, ""),
    counts: async () => (await ask({ link, ask: "counts" })).counts!,
    async close() {
      await (closed ??= ask({ link, ask: "close" }));
    },
  };
}

/** @throws Error if the process ends instead */
function ask(request: RelayRequest): Promise<RelayAnswer> {
  const child = (relays ??= startRelays());
  return new Promise((resolve, reject) => {
    const onMessage = (answer: RelayAnswer) => {
      if (answer.link !== request.link) return;
      stop();
      resolve(answer);
    };
    const onExit = () => {
      stop();
      reject(new Error("the relay has ended"));
    };
    const stop = () => {
      child.off("message", onMessage).off("exit", onExit);
      if (--open === 0) child.channel?.unref();
    };
    if (open++ === 0) child.channel?.ref();
    child.on("message", onMessage).on("exit", onExit);
    child.send(request);
  });
}

/** Questions that are not answered: while there are any, this process stays. */
let open = 0;

function startRelays(): ChildProcess {
  const child = fork(SCRIPT, { execArgv: ["--import", "tsx"] });
  child.unref();
  child.once("exit", () => (relays = undefined));
  return child;
}
