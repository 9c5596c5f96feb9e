/** A provider on a real socket whose every message a test may change, drop, repeat or replace on its way out. */
import type { MessageSocket } from "../../src/base/platform.ts";
import { nodeFileTree, serveSockets } from "../../src/platform/node.ts";
import { loadServedAdapter, Provider } from "../../src/provider/provider.ts";
import {
  type ClientMessage,
  decodeClientFrame,
  decodeProviderFrame,
  encodeProviderFrame,
  type ProviderMessage,
} from "../../src/wire/frames.ts";

const MAX = 64 << 20;

/** What goes out in place of a message: other messages in order; none at all; or the end of the connection. */
export type Tamper = (message: ProviderMessage, bytes: Uint8Array) => readonly Uint8Array[] | "close";

export interface HostileProvider {
  readonly url: string;
  tamper: Tamper;
  /** What clients have sent since the last call. */
  takeReceived(): ClientMessage[];
  /** For each of the messages of the last takeReceived: how many the provider had sent on that connection by then. */
  readonly answeredBefore: readonly number[];
  /** Resolves when no connection is open: what clients have sent until then is all. */
  whenAlone(): Promise<void>;
  /** Names of errors that the honest provider behind it did not expect. */
  readonly faults: readonly string[];
  close(): Promise<void>;
}

export async function startHostileProvider(state: string): Promise<HostileProvider> {
  const faults: string[] = [];
  const provider = new Provider([await loadServedAdapter(nodeFileTree(state))], {
    onEvent: (event) => {
      if (event.type === "fault") faults.push(event.name);
    },
  });
  let received: ClientMessage[] = [];
  let before: number[] = [];
  let taken: number[] = [];
  let open = 0;
  let onAlone: (() => void)[] = [];
  const onConnection = (socket: MessageSocket) => {
    let sent = 0;
    open++;
    const inner: MessageSocket = {
      onMessage: () => {},
      onClose: () => {},
      bufferedBytes: 0,
      ...(socket.share && { share: socket.share }),
      send(bytes) {
        const out = hostile.tamper(decodeProviderFrame(bytes, MAX), bytes);
        if (out === "close") socket.close(1011, "\u001b[31mgone");
        else {
          for (const message of out) socket.send(message);
          sent += out.length;
        }
      },
      close: (code, reason) => socket.close(code, reason),
    };
    socket.onMessage = (bytes) => {
      received.push(decodeClientFrame(bytes, MAX));
      before.push(sent);
      inner.onMessage(bytes);
    };
    socket.onClose = (code, reason) => {
      inner.onClose(code, reason);
      if (--open > 0) return;
      for (const resolve of onAlone) resolve();
      onAlone = [];
    };
    provider.accept(inner);
  };
  const server = await serveSockets({
    host: "127.0.0.1",
    port: 0,
    maxMessageBytes: MAX,
    onConnection,
  });
  const hostile: HostileProvider = {
    url: server.url,
    faults,
    get answeredBefore() {
      return taken;
    },
    tamper: (_, bytes) => [bytes],
    takeReceived() {
      const all = received;
      taken = before;
      received = [];
      before = [];
      return all;
    },
    whenAlone: () => new Promise((resolve) => (open === 0 ? resolve() : onAlone.push(resolve))),
    close: () => server.close(50),
  };
  return hostile;
}

/** The message with some fields replaced. */
export function replaced(message: ProviderMessage, fields: Record<string, unknown>): Uint8Array {
  const { $typeName: _type, ...value } = message.value as unknown as Record<string, unknown>;
  return encodeProviderFrame({ case: message.case, value: { ...value, ...fields } } as never);
}
