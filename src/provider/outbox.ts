/** What leaves by one connection: counted, not beyond what may wait, and a bundle in parts as its client takes them. */
import type { MessageSocket } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import {
  type AnswerFields,
  encodeAnswerFrame,
  encodeKeyPartFrame,
  encodeProviderFrame,
  type KeyPartFields,
  type ProviderMessageInit,
} from "../wire/frames.ts";
import { BUNDLE_PART_BYTES } from "../wire/limits.ts";
import type { ProviderTotals } from "./events.ts";

/** Parts of a bundle are sent while fewer bytes than this wait: two parts at a time. */
const BUNDLE_BUFFER_BYTES = 256 << 10;
/** How often that is looked at; less and less often while the client takes nothing. */
const BUNDLE_POLL_MS = 5;
const BUNDLE_POLL_MOST_MS = 320;

export interface OutboxOptions {
  readonly maxBufferedBytes: number;
  readonly totals: ProviderTotals;
  /** Nothing is sent any more. */
  isOver(): boolean;
  /** More than maxBufferedBytes wait for the client. */
  onFull(): void;
}

export class Outbox {
  readonly #socket: MessageSocket;
  readonly #options: OutboxOptions;

  constructor(socket: MessageSocket, options: OutboxOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  send(frame: NonNullable<ProviderMessageInit>): void {
    if (this.#takesMore()) this.#sendBytes(encodeProviderFrame(frame));
  }

  sendAnswer(answer: AnswerFields): void {
    if (this.#takesMore()) this.#sendBytes(encodeAnswerFrame(answer));
  }

  sendKeyPart(part: KeyPartFields): void {
    if (this.#takesMore()) this.#sendBytes(encodeKeyPartFrame(part));
  }

  /** Sends a bundle in parts; ends early where the connection does. */
  async sendBundle(bundle: Bundle): Promise<void> {
    const frames = framesOf(bundle);
    for (let part = 0; part < frames.count; part++) {
      await this.untilTaken();
      if (this.#options.isOver()) return;
      this.#sendBytes(frames.frame(part));
    }
  }

  /** Waits until little enough is buffered for the client. One that takes nothing for long is cut off by its share. */
  async untilTaken(): Promise<void> {
    let waitMs = BUNDLE_POLL_MS;
    let before = this.#socket.bufferedBytes;
    while (this.#socket.bufferedBytes >= BUNDLE_BUFFER_BYTES && !this.#options.isOver()) {
      const ms = waitMs;
      await new Promise<void>((resolve) => setTimeout(resolve, ms));
      const now = this.#socket.bufferedBytes;
      waitMs = now < before ? BUNDLE_POLL_MS : Math.min(2 * waitMs, BUNDLE_POLL_MOST_MS);
      before = now;
    }
  }

  #takesMore(): boolean {
    if (this.#options.isOver()) return false;
    if (this.#socket.bufferedBytes <= this.#options.maxBufferedBytes) return true;
    this.#options.onFull();
    return false;
  }

  #sendBytes(bytes: Uint8Array): void {
    this.#options.totals.bytesOut += bytes.length;
    this.#socket.send(bytes);
  }
}

/**
 * The BundlePart frames of a bundle, made once for all connections that are being sent the same part. A frame lives
 * while somebody is sent it, so many readers take little more memory than one, and nobody none.
 */
class BundleFrames {
  readonly count: number;
  readonly #bytes: Uint8Array;
  readonly #frames: (WeakRef<Uint8Array> | undefined)[];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.count = Math.ceil(bytes.length / BUNDLE_PART_BYTES);
    this.#frames = new Array<undefined>(this.count).fill(undefined);
  }

  /** Part 0 … count − 1; not to be written to. */
  frame(part: number): Uint8Array {
    const made = this.#frames[part]?.deref();
    if (made !== undefined) return made;
    const offset = part * BUNDLE_PART_BYTES;
    const data = this.#bytes.subarray(offset, offset + BUNDLE_PART_BYTES);
    const last = part === this.count - 1;
    const frame = encodeProviderFrame({ case: "bundlePart", value: { offset: BigInt(offset), data, last } });
    this.#frames[part] = new WeakRef(frame);
    return frame;
  }
}

const framesOfBundle = new WeakMap<Bundle, BundleFrames>();

function framesOf(bundle: Bundle): BundleFrames {
  let frames = framesOfBundle.get(bundle);
  if (frames === undefined) {
    frames = new BundleFrames(bundle.bytes);
    framesOfBundle.set(bundle, frames);
  }
  return frames;
}
