/** Passes TCP connections on to a target, over one line that all of them share. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
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

const sleeper = new Int32Array(new SharedArrayBuffer(4));

export class Relay {
  readonly #options: RelayOptions;
  readonly #up: Direction;
  readonly #down: Direction;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #timer: NodeJS.Timeout | undefined;
  #isAwake = false;
  #delivered = 0;
  #connections = 0;
  #isClosed = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    const direction = (rate: number | null): Direction => ({
      lane: new Lane({ rate: rate ?? Number.POSITIVE_INFINITY, delayMs: options.roundTripMs / 2 }),
      stopped: new Set(),
      slow: new Set(),
      ending: new Map(),
    });
    this.#up = direction(options.upRate);
    this.#down = direction(options.downRate);
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  /** @returns its port */
  async listen(): Promise<number> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  get counts(): RelayCounts {
    const [bytesUp, bytesDown] = [this.#up.lane.bytes, this.#down.lane.bytes];
    return { bytesUp, bytesDown, connections: this.#connections };
  }

  /** Cuts every connection off; what is on its way is lost. */
  close(): void {
    this.#server.close();
    clearTimeout(this.#timer);
    this.#isClosed = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(client: Socket): void {
    if (this.#isClosed) {
      client.destroy();
      return;
    }
    this.#connections++;
    const { port, host } = this.#options;
    const target = connect({ port, host, allowHalfOpen: true });
    this.#join(client, target, this.#up, this.#down);
    this.#join(target, client, this.#down, this.#up);
  }

  #join(from: Socket, to: Socket, way: Direction, back: Direction): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on("data", (bytes: Buffer) => {
      way.lane.send(to, bytes, performance.now());
      throttle(way, from);
      this.#wake();
    });
    from.on("drain", () => {
      back.slow.delete(from);
      this.#wake();
    });
    from.on("end", () => {
      way.ending.set(from, to);
      this.#wake();
    });
    from.on("error", () => from.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      way.stopped.delete(from);
      back.slow.delete(from);
      // Cut off and not ended: the other side learns it at once.
      if (!from.readableEnded) to.destroy();
      this.#wake();
    });
  }

  /** Sees to it that packets are delivered when they are due. */
  #wake(): void {
    if (this.#isAwake || this.#isClosed) return;
    clearTimeout(this.#timer);
    for (const each of [this.#up, this.#down]) this.#deliver(each);
    const due = [this.#up, this.#down].flatMap(({ lane, slow }) =>
      lane.next === undefined || slow.size > 0 ? [] : [lane.next],
    );
    if (due.length === 0) return;
    const left = Math.max(Math.min(...due), this.#delivered + LEAST_MS) - performance.now();
    if (left > 2 * TIMER_MS) {
      this.#timer = setTimeout(() => this.#wake(), Math.floor(left - TIMER_MS));
      return;
    }
    // Asleep, not busy; between the pieces those who send are heard.
    if (left > 0) Atomics.wait(sleeper, 0, 0, Math.min(left, SLEEP_MS));
    this.#isAwake = true;
    setImmediate(() => {
      this.#isAwake = false;
      this.#wake();
    });
  }

  #deliver(way: Direction): void {
    const { lane, stopped, slow, ending } = way;
    if (slow.size === 0) {
      const now = performance.now();
      for (const { target, bytes } of lane.arrived(now)) {
        this.#delivered = now;
        if (!target.destroyed && !target.write(bytes)) slow.add(target);
      }
    }
    for (const from of stopped) throttle(way, from);
    if (lane.next !== undefined) return;
    for (const to of ending.values()) to.end();
    ending.clear();
  }
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
