/**
 * Between a TCP or TLS socket and `ws`: small pieces of a frame are copied together before `ws` sees them.
 *
 * `ws` keeps each chunk of an incomplete frame as it came, and a chunk of one byte costs some 150 to 300 bytes of memory:
 * a client that sends a byte at a time would take a hundred times what it sends. Here an incomplete frame takes at most
 * about twice its bytes. What makes frames whole, and chunks that are large, pass without a copy.
 *
 * What is written while the messages of one chunk are handled leaves in one write, as they came.
 */
import type { Socket } from "node:net";
import type { FrameProgress } from "./frame-progress.ts";

/** A larger chunk is passed on as it is: what it costs besides its bytes is below a tenth. */
const SMALL_BYTES = 4 << 10;
/** As much is held until it is passed on as one chunk. */
const MOST_HELD_BYTES = 16 << 10;
const LEAST_HELD_BYTES = 64;
const NOTHING = Buffer.alloc(0);
const now = () => performance.now();

/**
 * @param socket that `ws` has begun to listen to
 * @param onProgress called when a chunk has been counted, before what it completes is passed on
 * @returns what ends it: nothing is passed on any more
 */
export function joinChunks(socket: Socket, progress: FrameProgress, onProgress: () => void): () => void {
  const listeners = socket.listeners("data") as ((chunk: Buffer) => void)[];
  if (listeners.length !== 1) throw new TypeError("a WebSocket has one listener for data");
  const [listener] = listeners;
  const pass = (chunk: Buffer): void => {
    if (chunk.length > 0 && !ended) listener.call(socket, chunk);
  };
  const held = new HeldBytes();
  let ended = false;
  socket.off("data", listener);
  socket.on("data", (chunk: Buffer) => {
    if (ended) return;
    const complete = progress.push(chunk, now);
    // First of all: what is complete is about to be counted by whoever gets it.
    onProgress();
    if (progress.ended < 2) {
      take(chunk, complete);
      return;
    }
    socket.cork();
    try {
      take(chunk, complete);
    } finally {
      socket.uncork();
    }
  });
  function take(chunk: Buffer, complete: number): void {
    // Most of all chunks: a message of one step.
    if (complete === chunk.length && held.isEmpty) {
      pass(chunk);
      return;
    }
    const rest = chunk.subarray(complete);
    const copiesRest = complete > 0 ? 2 * rest.length < chunk.length : rest.length < SMALL_BYTES;
    if (!copiesRest || rest.length === 0) {
      held.passWith(chunk, pass);
      return;
    }
    // A small rest is copied, so that it does not keep the whole chunk alive.
    if (complete > 0) held.passWith(chunk.subarray(0, complete), pass);
    held.add(rest, progress.payloadToCome, pass);
  }
  const end = () => {
    ended = true;
    held.drop();
  };
  // Before the listener of `ws`, which reads what is left by itself.
  socket.prependOnceListener("close", end);
  return end;
}

/** Bytes of an incomplete frame that `ws` has not seen. */
class HeldBytes {
  #buffer: Buffer = NOTHING;
  #length = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** @param toCome bytes that are known to follow */
  add(bytes: Buffer, toCome: number, pass: (chunk: Buffer) => void): void {
    const length = this.#length + bytes.length;
    if (length > this.#buffer.length) {
      const wanted = Math.min(length + toCome, Math.max(2 * length, LEAST_HELD_BYTES));
      const larger = Buffer.allocUnsafeSlow(Math.max(length, wanted));
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = length;
    if (length >= MOST_HELD_BYTES) this.passWith(NOTHING, pass);
  }

  /** Passes on what is held and then the chunk, together where the chunk is small. */
  passWith(chunk: Buffer, pass: (chunk: Buffer) => void): void {
    const first = this.#buffer.subarray(0, this.#length);
    this.drop();
    if (first.length === 0 || chunk.length >= SMALL_BYTES) {
      pass(first);
      pass(chunk);
    } else pass(Buffer.concat([first, chunk]));
  }

  drop(): void {
    this.#buffer = NOTHING;
    this.#length = 0;
  }
}
