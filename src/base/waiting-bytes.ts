/**
 * One account of the memory that waits in a server: what has come of messages that are not complete, queries and their
 * replies until they are sent, and what clients have not read. One total, and shares of it for each connection, key and
 * address.
 *
 * - Whoever exceeds its own share is cut off, of an address or key the connection with the most.
 * - Above 3/4 of the total, long messages are read no further until there is room, and whoever keeps the others waiting
 *   by sending or reading slowly is cut off. Short messages pass: a step of decoding is one.
 * - At the total the connection with the most, of the address with the most, is cut off at once.
 */
import { TacetError } from "./errors.ts";
import { type ShareAccount, type ShareGroup, type WaitingEnd, WaitingShare } from "./waiting-share.ts";

export interface WaitingLimits {
  /** Bytes of all connections together. */
  readonly total: number;
  /** Bytes of a connection, a key or an address. Default: half the total. */
  readonly share?: number;
}

/** With the process itself (100 MB), what the allocator adds and 20,000 idle connections well below 1 GiB. */
const TOTAL_BYTES = 256 << 20;
/** A message of fewer bytes is read to its end, however much waits: a query of one token has 5 to 55 kB. */
const SHORT_BYTES = 64 << 10;
/** Slow, where others wait: what it holds would take longer at the rate of the last second. */
const SLOW_SECONDS = 10;
/** Who takes nothing of what waits for it for so long does not read. */
const STALL_MS = 30_000;
/** A connection that was told why it is cut off may read that for so long. */
const FAREWELL_MS = 500;

export class WaitingBytes implements ShareAccount {
  readonly total: number;
  readonly share: number;
  /** Level above which long messages wait. */
  readonly #high: number;
  #bytes = 0;
  readonly #addresses = new Map<string, ShareGroup>();
  readonly #keys = new Map<string, ShareGroup>();
  /** Those for whom anything waits. */
  readonly #holders = new Set<WaitingShare>();
  readonly #paused = new Set<WaitingShare>();
  /** Bytes freed since the last look. */
  #freed = 0;

  constructor({ total, share }: WaitingLimits = { total: TOTAL_BYTES }) {
    this.total = total;
    this.share = share ?? Math.floor(total / 2);
    this.#high = 0.75 * total;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A connection's share, until it is closed. */
  open(address: string, end: WaitingEnd): WaitingShare {
    return new WaitingShare(this, address, end);
  }

  /** To be called every second or so. */
  look(now: number = performance.now()): void {
    const slow: [number, WaitingShare][] = [];
    for (const holder of this.#holders) {
      const { held, rate, stalledMs } = holder.look(now);
      if (stalledMs > STALL_MS) {
        this.#cut(holder, doesNotRead(), false);
      } else if (rate !== undefined && held > SLOW_SECONDS * rate) {
        slow.push([held, holder]);
      }
    }
    if (this.#bytes > this.#high) {
      let left = this.#bytes;
      for (const [held, holder] of slow.sort(([a], [b]) => b - a)) {
        if (left <= this.#high) break;
        left -= held;
        this.#cut(holder, noRoom(), false);
      }
      // Where nothing moved, all wait for each other: the one that has waited longest goes on.
      if (this.#freed === 0) this.#resumeOne();
    }
    this.#freed = 0;
    this.#resume();
  }

  /** @internal Books a change of a share's bytes. */
  book(share: WaitingShare, change: number): void {
    if (change === 0) return;
    this.#bytes += change;
    for (const group of share.groups) group.bytes += change;
    if (change < 0) {
      this.#freed -= change;
      if (share.bytes === 0) this.#holders.delete(share);
      this.#resume();
      return;
    }
    this.#holders.add(share);
    if (share.bytes > share.limit) {
      this.#cut(share, share.isGreeted ? ownShare() : tooLargeHello(), true);
      return;
    }
    for (const group of share.groups) {
      while (group.bytes > this.share && this.#cutLargest(group.members)) {}
    }
    while (this.#bytes > this.total && this.#cutLargest(this.#largest().members)) {}
  }

  /** @internal Whether so much more fits, without anybody being cut off for it. */
  fits(share: WaitingShare, bytes: number): boolean {
    if (this.#bytes + bytes > this.total || share.bytes + bytes > share.limit) return false;
    return share.groups.every((group) => group.bytes + bytes <= this.share);
  }

  /** @internal Reads a long message no further while too much waits. */
  pauseIfFull(share: WaitingShare): void {
    if (this.#bytes <= this.#high || share.incoming < SHORT_BYTES || this.#paused.has(share)) return;
    this.#paused.add(share);
    share.end.pause();
  }

  /** @internal */
  enter(share: WaitingShare, key?: string): void {
    const group = groupOf(key === undefined ? this.#addresses : this.#keys, key ?? share.address);
    group.members.add(share);
    group.bytes += share.bytes;
    share.groups.push(group);
  }

  /** @internal */
  leave(share: WaitingShare): void {
    this.#paused.delete(share);
    this.#holders.delete(share);
    leaveGroup(this.#addresses, share.address, share);
    if (share.key !== undefined) leaveGroup(this.#keys, share.key, share);
  }

  isPaused(share: WaitingShare): boolean {
    return this.#paused.has(share);
  }

  #largest(): ShareGroup {
    let largest: ShareGroup | undefined;
    for (const group of this.#addresses.values()) {
      if (largest === undefined || group.bytes > largest.bytes) largest = group;
    }
    return largest ?? { bytes: 0, members: new Set() };
  }

  #cutLargest(members: Iterable<WaitingShare>): boolean {
    let largest: WaitingShare | undefined;
    for (const member of members) {
      if (member.bytes > (largest?.bytes ?? 0)) largest = member;
    }
    if (largest === undefined) return false;
    this.#cut(largest, noRoom(), true);
    return true;
  }

  /** Says why; `atOnce` frees what it holds before this returns. */
  #cut(share: WaitingShare, reason: TacetError, atOnce: boolean): void {
    this.#paused.delete(share);
    share.end.pause();
    share.farewell(reason);
    if (!atOnce) {
      setTimeout(() => share.end.destroy(), FAREWELL_MS);
      return;
    }
    share.end.destroy();
    share.close();
  }

  #resume(): void {
    while (this.#paused.size > 0 && this.#bytes <= this.#high) this.#resumeOne();
  }

  #resumeOne(): void {
    const next = this.#paused.values().next();
    if (next.done) return;
    this.#paused.delete(next.value);
    next.value.end.resume();
  }
}

function groupOf(groups: Map<string, ShareGroup>, name: string): ShareGroup {
  let group = groups.get(name);
  if (group === undefined) {
    group = { bytes: 0, members: new Set() };
    groups.set(name, group);
  }
  return group;
}

function leaveGroup(groups: Map<string, ShareGroup>, name: string, share: WaitingShare): void {
  const group = groups.get(name);
  if (group === undefined) return;
  group.members.delete(share);
  if (group.members.size === 0) groups.delete(name);
}

const tooLargeHello = () => new TacetError("too_large", "more came before Hello than a Hello has");
const ownShare = () =>
  new TacetError("too_many_requests", "more waits for this connection than may", {
    hint: "send shorter messages, fewer queries at a time, and read the answers",
  });
const noRoom = () =>
  new TacetError("unavailable", "too much waits at the provider, and this connection has most of it", {
    hint: "connect again later",
  });
const doesNotRead = () => new TacetError("too_many_requests", "the client does not read");
