/** How many connections there are, of whom, and which of them take too long over a message. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { WaitingBytes } from "../../../base/waiting-bytes.ts";
import type { WaitingShare } from "../../../base/waiting-share.ts";
import { networkOf } from "./address.ts";
import { joinChunks } from "./chunk-joiner.ts";
import { FrameProgress } from "./frame-progress.ts";
import type { Rejection } from "./rejection.ts";

const LOOK_EVERY_MS = 1_000;

export interface ConnectionLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  /** Longest time from the first to the last byte of a message. */
  readonly receiveMs: number;
}

export class ConnectionLimiter {
  readonly #limits: ConnectionLimits;
  readonly #onRejected: (reason: Rejection) => void;
  readonly #ofAddress = new Map<string, number>();
  /** Address → connections that have not asked for a WebSocket yet. */
  readonly #early = new Map<string, number>();
  readonly #progress = new Map<Socket, FrameProgress>();
  readonly #waiting: WaitingBytes;
  readonly #timers: readonly NodeJS.Timeout[];
  #open = 0;

  /** @param waiting account of the memory that their messages take */
  constructor(limits: ConnectionLimits, waiting: WaitingBytes, onRejected: (reason: Rejection) => void) {
    this.#limits = limits;
    this.#waiting = waiting;
    this.#onRejected = onRejected;
    this.#timers = [
      setInterval(() => this.#cutSlow(), Math.min(LOOK_EVERY_MS, limits.receiveMs)).unref(),
      setInterval(() => waiting.look(), LOOK_EVERY_MS).unref(),
    ];
  }

  /** Counts a socket of an address until it closes; a reason if it is one too many, which was reported. */
  enter(socket: Socket, address: string): Rejection | undefined {
    const open = this.#ofAddress.get(address) ?? 0;
    const { maxConnections, maxConnectionsPerAddress } = this.#limits;
    const reason: Rejection | undefined =
      this.#open >= maxConnections
        ? "too-many-connections"
        : open >= maxConnectionsPerAddress
          ? "too-many-of-address"
          : undefined;
    if (reason !== undefined) {
      this.#onRejected(reason);
      return reason;
    }
    this.#open++;
    add(this.#ofAddress, address, 1);
    socket.once("close", () => {
      this.#open--;
      this.#progress.delete(socket);
      add(this.#ofAddress, address, -1);
    });
    return undefined;
  }

  /**
   * Counts a connection that has said nothing yet; it may last as long as a handshake may, so an address may have no
   * more of them than of WebSockets. Returns what ends the count, undefined if it is one too many, which was reported.
   */
  enterEarly(socket: Socket, address: string): (() => void) | undefined {
    if ((this.#early.get(address) ?? 0) >= this.#limits.maxConnectionsPerAddress) {
      this.#onRejected("too-many-of-address");
      return undefined;
    }
    add(this.#early, address, 1);
    let counted = true;
    const leave = () => {
      if (counted) add(this.#early, address, -1);
      counted = false;
    };
    socket.once("close", leave);
    return leave;
  }

  /** From now on this socket's messages must arrive in time, and have a share of the memory. */
  watch(socket: Socket, address: string, ws: WebSocket): WaitingShare {
    const progress = new FrameProgress();
    this.#progress.set(socket, progress);
    const share = this.#waiting.open(address, {
      pause: () => ws.pause(),
      resume: () => ws.resume(),
      destroy: () => socket.destroy(),
    });
    const end = joinChunks(socket, progress, () => share.receiving(progress.incompleteCost));
    ws.on("error", end);
    socket.once("close", () => share.close());
    return share;
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  #cutSlow(): void {
    const latest = performance.now() - this.#limits.receiveMs;
    for (const [socket, { incompleteSince }] of this.#progress) {
      if (incompleteSince === undefined || incompleteSince > latest) continue;
      this.#onRejected("slow-message");
      socket.destroy();
    }
  }
}

function add(counts: Map<string, number>, key: string, change: number): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

/**
 * The network that limits by address count ({@link networkOf}): the peer's, or behind a proxy that is trusted what it
 * says last: earlier entries a client may invent.
 */
export function addressOf(request: IncomingMessage, trustProxy: boolean): string {
  const peer = networkOf(request.socket.remoteAddress ?? "");
  if (!trustProxy) return peer;
  const forwarded = request.headers["x-forwarded-for"];
  const last = (Array.isArray(forwarded) ? forwarded.join(",") : (forwarded ?? "")).split(",").at(-1) ?? "";
  return networkOf(last) || peer;
}
