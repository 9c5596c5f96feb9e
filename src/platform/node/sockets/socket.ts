/** WebSocket connections in Node, as {@link MessageSocket}. */
import type { Socket } from "node:net";
import { type RawData, WebSocket } from "ws";
import { TacetError } from "../../../base/errors.ts";
import type { MessageSocket, SocketOptions } from "../../../base/platform.ts";
import { shownUrl } from "../../../base/shown-url.ts";
import type { WaitingShare } from "../../../base/waiting-share.ts";
import { Poller } from "./polling.ts";
import type { TurnWrites } from "./turn-writes.ts";

/** Messages larger than this are not read: frames.ts has the protocol's own limits. */
export const MAX_PAYLOAD_BYTES = 64 << 20;
/** Longest time that a client polls for an answer where nothing else is said, in microseconds (polling.ts). */
const CLIENT_POLL_MICROS = 2_000;
/**
 * Behind a longer message a server does not poll: a part of a prompt, whose next part comes when the base model has read it,
 * with all cores there are. A query of one vector has 4.6 kB; some drafts are asked with it.
 */
const STEP_BYTES = 40_000;

/** @throws TacetError connection_failed, aborted */
export async function connectSocket(url: string, options: SocketOptions = {}): Promise<MessageSocket> {
  const target = checkUrl(url);
  const { signal, timeoutMs, pollMicros = CLIENT_POLL_MICROS } = options;
  if (signal?.aborted) throw new TacetError("aborted", "the connection was given up");
  const socket = new WebSocket(target, {
    perMessageDeflate: false,
    maxPayload: MAX_PAYLOAD_BYTES,
    ...(timeoutMs === undefined ? {} : { handshakeTimeout: timeoutMs }),
  });
  return await new Promise<MessageSocket>((resolve, reject) => {
    let stream: Socket | undefined;
    socket.once("upgrade", (response) => (stream = response.socket));
    const onAbort = () => {
      socket.terminate();
      reject(new TacetError("aborted", "the connection was given up"));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    socket.once("error", (error) => {
      signal?.removeEventListener("abort", onAbort);
      reject(connectionFailed(target, error));
    });
    socket.once("open", () => {
      signal?.removeEventListener("abort", onAbort);
      socket.removeAllListeners("error");
      const wrapped = wrapSocket(socket, "client", new Poller(pollMicros));
      if (stream) wrapped.together = corking(stream);
      resolve(wrapped);
    });
  });
}

/** A longer message travels as several WebSocket frames, so that it shows how much of it the network has taken. */
const FRAME_BYTES = (256 << 10) + 1024; // a part of a bundle in one
/** What a frame that waits takes besides its bytes: its head, the stream's entries for both, a callback. */
const FRAME_COST = 512;
/** An answer of one vector has some 50 to 250 bytes. */
const SMALL_BYTES = 256;
/** Of a server's frame with a message of up to 64 KiB (RFC 6455, section 5.2): it is not masked. */
const LONGEST_SMALL_HEAD = 4;
/** FIN, and a binary message. */
const WHOLE_BINARY = 0x82;

/**
 * A connection's memory for frames of small messages, answers of a step among them. V8 keeps such an array among its objects,
 * and would have to allocate memory outside of them for each that is sent. Node's pool of small buffers would be no better:
 * one message that a client does not take would keep 8 kB of it. With the head before the message in it, a frame is one piece
 * for the stream instead of two.
 */
export class SmallFrames {
  #memory: Buffer | undefined;

  /** A frame that is good until it has been sent. Undefined if the message is larger, or the one before may wait still. */
  frameOf(message: Uint8Array, isFree: boolean): Buffer | undefined {
    const { length } = message;
    if (!isFree || length > SMALL_BYTES) return undefined;
    this.#memory ??= Buffer.allocUnsafeSlow(LONGEST_SMALL_HEAD + SMALL_BYTES);
    const memory = this.#memory;
    memory[0] = WHOLE_BINARY;
    let head = 2;
    if (length < 126) memory[1] = length;
    else {
      memory[1] = 126;
      memory[2] = length >> 8;
      memory[3] = length & 255;
      head = LONGEST_SMALL_HEAD;
    }
    memory.set(message, head);
    return memory.subarray(0, head + length);
  }
}

/** What a server has for a connection. */
export interface ServedSocket {
  readonly address: string;
  /** Where what waits for the connection is counted. */
  readonly share: WaitingShare;
  readonly stream: Socket;
  readonly writes: TurnWrites;
  readonly small: SmallFrames;
}

/**
 * @param poller expects a message after each that a server has handled, or a client has sent
 */
export function wrapSocket(
  socket: WebSocket,
  role: "client" | "server",
  poller: Poller,
  served?: ServedSocket,
): MessageSocket {
  /** Messages of a client that an answer is due for, as far as can be told from here. */
  let due = 0;
  const wrapped: MessageSocket = {
    ...(served && { address: served.address, share: served.share }),
    onMessage: () => {},
    onClose: () => {},
    // A client masks what it sends, and so has a copy; a server sends the memory it is given.
    copies: role === "client",
    send(message) {
      // A message that can't be sent shows as a close, which follows.
      if (socket.readyState !== WebSocket.OPEN) return;
      if (served !== undefined) return sendCounted(socket, message, served);
      socket.send(message, { binary: true }, () => {});
      due++;
      poller.expect();
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    close(code, reason) {
      socket.close(code, reason);
    },
  };
  socket.on("message", (data: RawData, isBinary: boolean) => {
    if (!isBinary) return socket.close(1003, "binary messages only");
    const { buffer, byteOffset, byteLength } = data as Buffer;
    poller.arrived();
    wrapped.onMessage(new Uint8Array(buffer, byteOffset, byteLength));
    due = Math.max(0, due - 1);
    if (role === "server" ? byteLength <= STEP_BYTES : due > 0) poller.expect();
  });
  socket.on("error", () => {}); // what went wrong shows in the close event that follows
  socket.on("close", (code, reason) => wrapped.onClose(code, reason.toString("utf8")));
  return wrapped;
}

/** A write costs much the same for one message and for two. */
function corking(stream: Socket): (send: () => void) => void {
  return (send) => {
    stream.cork();
    try {
      send();
    } finally {
      stream.uncork();
    }
  };
}

function sendCounted(
  socket: WebSocket,
  message: Uint8Array,
  { share, stream, writes, small }: ServedSocket,
): void {
  writes.collect(stream);
  const frame = small.frameOf(message, socket.bufferedAmount === 0);
  if (frame !== undefined) {
    const cost = FRAME_COST + message.length;
    // Between two messages of `ws`, which has nothing waiting then: it extends and masks no frame of a server's.
    stream.write(frame, () => share.taken(cost));
    share.sending(cost);
    return;
  }
  let at = 0;
  do {
    const part = message.length <= FRAME_BYTES ? message : message.subarray(at, at + FRAME_BYTES);
    at += part.length;
    const cost = FRAME_COST + part.length;
    socket.send(part, { binary: true, fin: at === message.length }, () => share.taken(cost));
    share.sending(cost);
  } while (at < message.length);
}

function checkUrl(url: string): string {
  let parsed: URL | undefined;
  try {
    parsed = new URL(url);
  } catch {
    // reported below
  }
  if (parsed === undefined || (parsed.protocol !== "ws:" && parsed.protocol !== "wss:")) {
    throw new TacetError("bad_argument", `${JSON.stringify(shownUrl(url))} is not a provider's URL`, {
      hint: "it looks like ws://host:port or wss://host",
    });
  }
  return parsed.href;
}

function connectionFailed(target: string, error: Error & { code?: string }): TacetError {
  const url = shownUrl(target);
  const reason = error.code ?? error.message;
  const { protocol, hostname, host, pathname } = new URL(url);
  const swapped = (scheme: string) => `${scheme}//${host}${pathname === "/" ? "" : pathname}`;
  const fail = (message: string, hint: string) =>
    new TacetError("connection_failed", message, { hint, cause: error });
  if (protocol === "wss:" && isCertificateFault(reason)) {
    const what = `the certificate of ${url} is not trusted (${reason})`;
    const how = SELF_MADE.has(reason)
      ? "if it is self-made, or of an authority of your own, name that certificate's PEM file in NODE_EXTRA_CA_CERTS; " +
        "get the file from the provider by a way that you trust"
      : "the provider has to renew it, or to be asked by the name that it was made for";
    return fail(what, how);
  }
  if (protocol === "ws:" && MAYBE_TLS.test(reason)) {
    const hint = `if the provider has TLS, its URL is ${swapped("wss:")}; else check the URL, or try again later`;
    return fail(`what listens at ${url} does not take this connection (${reason})`, hint);
  }
  if (protocol === "wss:" && MAYBE_NO_TLS.test(reason)) {
    // Elsewhere a token would travel in clear.
    const hint = isLocal(hostname)
      ? `if the provider has no TLS, its URL is ${swapped("ws:")}; else check the URL, or try again later`
      : "check the URL, and that the provider, or the proxy before it, has TLS; or try again later";
    return fail(`what listens at ${url} does not take this connection (${reason})`, hint);
  }
  return fail(
    `no provider answers at ${url} (${reason})`,
    "check the URL and that the provider runs; on one machine: tacet provider --state DIR",
  );
}

/** Certificates that no authority of the system vouches for. */
const SELF_MADE = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

function isCertificateFault(reason: string): boolean {
  return SELF_MADE.has(reason) || reason === "ERR_TLS_CERT_ALTNAME_INVALID" || /^CERT_/.test(reason);
}

/** What a TLS server does with plain HTTP: an alert, which is no HTTP, status 400 from a proxy, or it hangs up. */
const MAYBE_TLS = /^HPE_|^ECONNRESET$|socket hang up|server response: 400$/;
/** What a server without TLS does with a handshake: no handshake comes back, or it hangs up. */
const MAYBE_NO_TLS = /^EPROTO$|^ERR_SSL_|^ECONNRESET$|socket hang up/;

function isLocal(hostname: string): boolean {
  return /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(hostname);
}
