/**
 * One direction of a line: bytes leave one after another at a rate, and each arrives a while later.
 *
 *   leaves(packet) = max(arrival, leaves(packet before)) + bytes/rate,   delivered = leaves + delay
 *
 * Nothing is lost or reordered, and nothing is random. Times are milliseconds of the caller's clock.
 */

export interface LaneOptions {
  /** Bytes a millisecond; Infinity: no limit. */
  readonly rate: number;
  /** Milliseconds from leaving to arriving. */
  readonly delayMs: number;
}

/** So much of a packet is on its way as a whole: what Ethernet carries of a TCP connection. */
const PACKET_BYTES = 1460;
/** Bytes that may wait for the line before a sender is stopped, as in a router. Stopped, they never get fewer than half. */
const QUEUE_BYTES = 256 << 10;

interface Packet<Target> {
  readonly target: Target;
  readonly bytes: Uint8Array;
  readonly due: number;
}

/** Bytes for one target, joined where they follow each other in memory. */
export interface Delivery<Target> {
  readonly target: Target;
  readonly bytes: Uint8Array;
}

export class Lane<Target> {
  readonly #rate: number;
  readonly #delayMs: number;
  /** Those that are on their way; the first ones up to #first have been delivered. */
  #packets: Packet<Target>[] = [];
  #first = 0;
  /** When the last byte so far leaves. */
  #free = 0;
  /** Bytes that went through, those on their way included. */
  bytes = 0;

  constructor({ rate, delayMs }: LaneOptions) {
    this.#rate = rate;
    this.#delayMs = delayMs;
  }

  /** Takes what a sender has given at time `now`. */
  send(target: Target, bytes: Uint8Array, now: number): void {
    this.bytes += bytes.length;
    for (let at = 0; at < bytes.length; at += PACKET_BYTES) {
      const packet = bytes.subarray(at, at + PACKET_BYTES);
      this.#free = Math.max(now, this.#free) + packet.length / this.#rate;
      this.#packets.push({ target, bytes: packet, due: this.#free + this.#delayMs });
    }
  }

  /** When the next packet arrives; undefined: nothing is on its way. */
  get next(): number | undefined {
    return this.#packets[this.#first]?.due;
  }

  /** Whether a sender has to wait, `stopped` telling whether it does already. */
  isFull(now: number, stopped: boolean): boolean {
    const waiting = (this.#free - now) * this.#rate;
    return waiting > (stopped ? QUEUE_BYTES / 2 : QUEUE_BYTES);
  }

  /** What has arrived at time `now`, in order. */
  arrived(now: number): Delivery<Target>[] {
    const out: Delivery<Target>[] = [];
    for (; this.#first < this.#packets.length; this.#first++) {
      const { target, bytes, due } = this.#packets[this.#first];
      if (due > now) break;
      const last = out.at(-1);
      const follows =
        last?.target === target &&
        last.bytes.buffer === bytes.buffer &&
        last.bytes.byteOffset + last.bytes.length === bytes.byteOffset;
      if (!follows) out.push({ target, bytes });
      else {
        const length = last.bytes.length + bytes.length;
        out[out.length - 1] = { target, bytes: new Uint8Array(bytes.buffer, last.bytes.byteOffset, length) };
      }
    }
    if (this.#first > 1024 || this.#first === this.#packets.length) {
      this.#packets = this.#packets.slice(this.#first);
      this.#first = 0;
    }
    return out;
  }
}
