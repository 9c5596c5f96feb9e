/**
 * The process of a link, relay.ts OPTIONS (JSON of {@link RelayOptions}): passes TCP connections on to a target over one
 * line that all of them share. Sends its port over IPC, its counters when it is asked; ends with its parent.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Lane } from "./lane.ts";

export interface RelayOptions {
  readonly host: string;
  readonly port: number;
  readonly roundTripMs: number;
  /** Bytes a millisecond; null: no limit. */
  readonly upRate: number | null;
  readonly downRate: number | null;
}

export interface RelayCounts {
  /** Of TCP, what is on its way included. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly connections: number;
}

export type RelayMessage = { readonly port: number } | RelayCounts;

/** One direction, with the sockets that have to do with it. */
interface Direction {
  readonly lane: Lane<Socket>;
  /** Senders that had to stop. */
  readonly stopped: Set<Socket>;
  /** Receivers that can take no more at the moment: all others wait with them. */
  readonly slow: Set<Socket>;
  /** Senders that have ended, with their receivers, which are told when everything on its way has arrived. */
  readonly ending: Map<Socket, Socket>;
}

/** A timer fires within so many milliseconds after its time. What is left is slept through, in short pieces. */
const TIMER_MS = 1;
const SLEEP_MS = 0.5;
/** Packets that follow each other closely are delivered together: no more often than that. */
const LEAST_MS = 0.2;

const options = JSON.parse(process.argv[2]) as RelayOptions;
const direction = (rate: number | null): Direction => ({
  lane: new Lane({ rate: rate ?? Number.POSITIVE_INFINITY, delayMs: options.roundTripMs / 2 }),
  stopped: new Set(),
  slow: new Set(),
  ending: new Map(),
});
const up = direction(options.upRate);
const down = direction(options.downRate);
const sleeper = new Int32Array(new SharedArrayBuffer(4));
let timer: NodeJS.Timeout | undefined;
let isAwake = false;
let delivered = 0;
let connections = 0;

const server = createServer({ allowHalfOpen: true }, (client) => {
  connections++;
  const target = connect({ port: options.port, host: options.host, allowHalfOpen: true });
  join(client, target, up, down);
  join(target, client, down, up);
});
server.listen(0, "127.0.0.1", () => process.send!({ port: (server.address() as AddressInfo).port }));
process.on("message", () =>
  process.send!({ bytesUp: up.lane.bytes, bytesDown: down.lane.bytes, connections }),
);
process.on("disconnect", () => process.exit());

function join(from: Socket, to: Socket, way: Direction, back: Direction): void {
  from.setNoDelay(true);
  from.on("data", (bytes: Buffer) => {
    way.lane.send(to, bytes, performance.now());
    throttle(way, from);
    wake();
  });
  from.on("drain", () => {
    back.slow.delete(from);
    wake();
  });
  from.on("end", () => {
    way.ending.set(from, to);
    wake();
  });
  from.on("error", () => from.destroy());
  from.on("close", () => {
    way.stopped.delete(from);
    back.slow.delete(from);
    // Cut off and not ended: the other side learns it at once.
    if (!from.readableEnded) to.destroy();
    wake();
  });
}

/** Stops a sender, or lets it go on. */
function throttle({ lane, stopped }: Direction, from: Socket): void {
  const isStopped = stopped.has(from);
  if (lane.isFull(performance.now(), isStopped) === isStopped) return;
  if (isStopped) {
    stopped.delete(from);
    from.resume();
  } else {
    stopped.add(from);
    from.pause();
  }
}

/** Sees to it that packets are delivered when they are due. */
function wake(): void {
  if (isAwake) return;
  clearTimeout(timer);
  for (const each of [up, down]) deliver(each);
  const due = [up, down].flatMap(({ lane, slow }) =>
    lane.next === undefined || slow.size > 0 ? [] : [lane.next],
  );
  if (due.length === 0) return;
  const left = Math.max(Math.min(...due), delivered + LEAST_MS) - performance.now();
  if (left > 2 * TIMER_MS) {
    timer = setTimeout(wake, Math.floor(left - TIMER_MS));
    return;
  }
  // Asleep, not busy; between the pieces those who send are heard.
  if (left > 0) Atomics.wait(sleeper, 0, 0, Math.min(left, SLEEP_MS));
  isAwake = true;
  setImmediate(() => {
    isAwake = false;
    wake();
  });
}

function deliver(way: Direction): void {
  const { lane, stopped, slow, ending } = way;
  if (slow.size === 0) {
    const now = performance.now();
    for (const { target, bytes } of lane.arrived(now)) {
      delivered = now;
      if (!target.destroyed && !target.write(bytes)) slow.add(target);
    }
  }
  for (const from of stopped) throttle(way, from);
  if (lane.next !== undefined) return;
  for (const to of ending.values()) to.end();
  ending.clear();
}
