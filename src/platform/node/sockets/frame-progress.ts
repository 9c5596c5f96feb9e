/**
 * Where a WebSocket's byte stream stands: between two messages, or within one, and since when. `ws` keeps this to
 * itself, and without it a client that sends a message a byte a minute holds its memory for ever.
 *
 * Frame (RFC 6455, section 5.2): FIN and opcode (1 byte), MASK and length (1), longer length (0, 2 or 8), masking key
 * (0 or 4), payload. Frames of opcode 8 and above (close, ping, pong) stand between those of a message.
 */
const CONTROL = 0x8;
const FIN = 0x80;
const MASK = 0x80;
const LONGEST_HEAD = 14;
/** What `ws` and we keep for a message that is not complete, besides its bytes. */
const MESSAGE_COST = 512;
/** A Buffer for each frame of a message in several: two objects, a store of at least 64 bytes, places in lists. */
const FRAME_COST = 320;

export class FrameProgress {
  readonly #head = new Uint8Array(LONGEST_HEAD);
  readonly #view = new DataView(this.#head.buffer);
  #headBytes = 0;
  /** Bytes of payload that are still to come. */
  #payload = 0;
  /** A message's frame without FIN has come. */
  #fragmented = false;
  #since: number | undefined;
  #bytes = 0;
  #frames = 0;
  #ended = 0;

  /** Messages, and control frames, that the last chunk has ended. */
  get ended(): number {
    return this.#ended;
  }

  /** When the message began that is not complete, undefined between messages. */
  get incompleteSince(): number | undefined {
    return this.#since;
  }

  /**
   * Memory that the incomplete message takes, 0 between messages: all bytes since it began, control frames among them
   * too, because a frame keeps the chunk alive that it came in.
   */
  get incompleteCost(): number {
    return this.#since === undefined ? 0 : MESSAGE_COST + this.#bytes + FRAME_COST * this.#frames;
  }

  /** Bytes of the frame's payload that are still to come, 0 where its head is not complete. */
  get payloadToCome(): number {
    return this.#payload;
  }

  /** Returns how many of the chunk's bytes belong to frames that are complete now. */
  push(chunk: Uint8Array, now: () => number): number {
    let at = 0;
    let complete = 0;
    this.#ended = 0;
    while (at < chunk.length) {
      if (this.#payload > 0) {
        const taken = Math.min(this.#payload, chunk.length - at);
        this.#payload -= taken;
        this.#bytes += taken;
        at += taken;
        if (this.#payload > 0) break;
      } else {
        this.#bytes++;
        this.#head[this.#headBytes++] = chunk[at++];
        if (this.#headBytes < this.#headLength()) continue;
        this.#payload = this.#payloadLength();
        if (this.#payload > 0) continue;
      }
      this.#frameEnded();
      complete = at;
    }
    // Most chunks end with a message, and need no look at the clock.
    if (this.#fragmented || this.#headBytes > 0) this.#since ??= now();
    return complete;
  }

  #headLength(): number {
    if (this.#headBytes < 2) return 2;
    const length = this.#head[1] & 0x7f;
    const extended = length === 127 ? 8 : length === 126 ? 2 : 0;
    return 2 + extended + (this.#head[1] & MASK ? 4 : 0);
  }

  /** Lengths that `ws` refuses may come out inexact here: the connection is closed then. */
  #payloadLength(): number {
    const length = this.#head[1] & 0x7f;
    if (length === 127) return this.#view.getUint32(2) * 2 ** 32 + this.#view.getUint32(6);
    return length === 126 ? this.#view.getUint16(2) : length;
  }

  #frameEnded(): void {
    const first = this.#head[0];
    this.#headBytes = 0;
    if ((first & 0x0f) < CONTROL) this.#fragmented = (first & FIN) === 0;
    if (this.#fragmented) {
      this.#frames++;
      return;
    }
    this.#ended++;
    this.#since = undefined;
    this.#bytes = 0;
    this.#frames = 0;
  }
}
