/** A client's platform whose network is memory: each URL leads to what a test puts there. */
import { TacetError } from "../../src/base/errors.ts";
import type { MessageSocket, Platform, SocketOptions } from "../../src/base/platform.ts";
import { memorySockets } from "./memory-socket.ts";

export interface MemoryPlatform extends Platform {
  /** URL → who accepts a socket; a URL that is not here cannot be reached. */
  readonly hosts: Map<string, (socket: MessageSocket) => void>;
  /** URLs in the order in which they were tried. */
  readonly tried: string[];
  /** What the last one was opened with. */
  options: SocketOptions | undefined;
}

export function memoryPlatform(): MemoryPlatform {
  const hosts: MemoryPlatform["hosts"] = new Map();
  const tried: string[] = [];
  const platform: MemoryPlatform = {
    hosts,
    tried,
    options: undefined,
    tensors: {
      createSession: () => Promise.reject(new TypeError("there is no tensor runtime in this test")),
    },
    async connect(url, options) {
      tried.push(url);
      platform.options = options;
      const accept = hosts.get(url);
      if (accept === undefined) throw new TacetError("connection_failed", `${url} cannot be reached`);
      const [client, server] = memorySockets();
      accept(server);
      return client;
    },
  };
  return platform;
}

/** The other end of `socket`, each message changed, dropped (undefined) or answered with the end of the connection. */
export function between(
  socket: MessageSocket,
  change: { up?: Change; down?: Change },
): { inner: MessageSocket; cut(): void } {
  const pass: Change = (bytes) => bytes;
  const { up = pass, down = pass } = change;
  const inner: MessageSocket = {
    bufferedBytes: 0,
    onMessage: () => {},
    onClose: () => {},
    send(bytes) {
      const changed = down(bytes);
      if (changed) socket.send(changed);
    },
    close: (code, reason) => socket.close(code, reason),
  };
  socket.onMessage = (bytes) => {
    const changed = up(bytes);
    if (changed) inner.onMessage(changed);
  };
  socket.onClose = (code, reason) => inner.onClose(code, reason);
  return { inner, cut: () => socket.close(1006, "cut") };
}

export type Change = (bytes: Uint8Array) => Uint8Array | undefined;
