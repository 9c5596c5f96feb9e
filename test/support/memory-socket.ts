/** Two ends of a connection in one process: messages arrive in order, each in a turn of its own. */
import type { MessageSocket } from "../../src/base/platform.ts";

export interface MemorySocket extends MessageSocket {
  /** Bytes that this end pretends the network has not taken; a test sets it. */
  bufferedBytes: number;
  readonly received: Uint8Array[];
  closed: { code: number; reason: string } | undefined;
}

export function memorySockets(): [MemorySocket, MemorySocket] {
  const ends = [0, 1].map((): MemorySocket => {
    const end: MemorySocket = {
      received: [],
      closed: undefined,
      bufferedBytes: 0,
      onMessage: () => {},
      onClose: () => {},
      send: () => {},
      close: () => {},
    };
    return end;
  }) as [MemorySocket, MemorySocket];
  for (const [i, end] of ends.entries()) {
    const other = ends[1 - i];
    end.send = (message) => {
      const copy = message.slice();
      queueMicrotask(() => {
        if (other.closed) return;
        other.received.push(copy);
        other.onMessage(copy);
      });
    };
    end.close = (code, reason) =>
      queueMicrotask(() => {
        for (const each of ends) {
          if (each.closed) continue;
          each.closed = { code, reason };
          each.onClose(code, reason);
        }
      });
  }
  return ends;
}

/** Lets everything that is under way arrive. */
export async function settle(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}
