/** WebSocket connections of a browser or worker, as {@link MessageSocket}. */
import { TacetError } from "../../base/errors.ts";
import type { MessageSocket, SocketOptions } from "../../base/platform.ts";
import { shownUrl } from "../../base/shown-url.ts";

/** A browser can't poll: `pollMicros` changes nothing. @throws TacetError bad_argument, connection_failed, aborted */
export async function connectSocket(url: string, options: SocketOptions = {}): Promise<MessageSocket> {
  const { signal, timeoutMs } = options;
  if (signal?.aborted) throw new TacetError("aborted", "the connection was given up");
  const socket = open(url);
  socket.binaryType = "arraybuffer";
  return await new Promise<MessageSocket>((resolve, reject) => {
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => fail("it took too long"), timeoutMs);
    const onAbort = (): void => {
      settle();
      socket.close();
      reject(new TacetError("aborted", "the connection was given up"));
    };
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.onopen = null;
      socket.onerror = null;
      socket.onclose = null;
    };
    // A browser does not say why a connection failed, so that pages cannot map networks.
    const fail = (why: string): void => {
      settle();
      socket.close();
      reject(
        new TacetError("connection_failed", `no provider answers at ${shownUrl(url)} (${why})`, {
          hint: "check that the provider runs, and that this page was started for its address",
        }),
      );
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    socket.onerror = () => fail("the browser could not connect");
    socket.onclose = ({ code }) => fail(`close code ${code}`);
    socket.onopen = () => {
      settle();
      resolve(wrapSocket(socket));
    };
  });
}

function open(url: string): WebSocket {
  try {
    if (!/^wss?:/.test(url)) throw new SyntaxError();
    return new WebSocket(url);
  } catch {
    throw new TacetError("bad_argument", `${JSON.stringify(shownUrl(url))} is not a provider's URL`, {
      hint: "it looks like ws://host:port or wss://host",
    });
  }
}

function wrapSocket(socket: WebSocket): MessageSocket {
  const wrapped: MessageSocket = {
    onMessage: () => {},
    onClose: () => {},
    copies: true,
    send(message) {
      // A message that cannot be sent shows as a close, which follows.
      if (socket.readyState === WebSocket.OPEN) socket.send(message as Uint8Array<ArrayBuffer>);
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    close(code, reason) {
      // Scripts may use 1000 and 3000 to 4999 only.
      socket.close(code === 1000 || code >= 3000 ? code : 4000, reason);
    },
  };
  socket.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (data instanceof ArrayBuffer) wrapped.onMessage(new Uint8Array(data));
    else socket.close(4003, "binary messages only");
  };
  socket.onclose = ({ code, reason }) => wrapped.onClose(code, reason);
  return wrapped;
}
