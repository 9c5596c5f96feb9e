/** A WebSocket server in Node: hands every connection over as a {@link MessageSocket}. */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type ServerOptions, WebSocketServer } from "ws";
import { checkOptions, type OptionTypes, withDefaults } from "../../../base/check-options.ts";
import { TacetError } from "../../../base/errors.ts";
import type { MessageSocket } from "../../../base/platform.ts";
import { WaitingBytes } from "../../../base/waiting-bytes.ts";
import { networkOf } from "./address.ts";
import { readCertificate, type TlsFiles, watchCertificate } from "./certificate.ts";
import { addressOf, ConnectionLimiter } from "./connection-limiter.ts";
import type { Rejection } from "./rejection.ts";
import { Poller, usualPollMicros } from "./polling.ts";
import { SmallFrames, wrapSocket } from "./socket.ts";
import { TurnWrites } from "./turn-writes.ts";

export interface ServeOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly maxMessageBytes: number;
  /** Longest time that the server polls for a message before it sleeps, in microseconds; 0: not at all. */
  readonly pollMicros?: number | undefined;
  /** Serves wss:// instead of ws://. */
  readonly tls?: TlsFiles | undefined;
  readonly maxConnections?: number | undefined;
  readonly maxConnectionsPerAddress?: number | undefined;
  /** A client's address is what a proxy in front says. */
  readonly trustProxy?: boolean | undefined;
  /** Longest time that a message may take to arrive. */
  readonly receiveMs?: number | undefined;
  /** Account of the memory that waits; by default one for this server. */
  readonly waiting?: WaitingBytes | undefined;
  /** Whether a request may become a WebSocket; others are refused with 403. By default all may. */
  readonly admits?: ((request: IncomingMessage) => boolean) | undefined;
  /** Longest time that a connection may take to become a WebSocket. */
  readonly handshakeMs?: number | undefined;
  readonly onConnection: (socket: MessageSocket) => void;
  readonly onRejected?: ((reason: Rejection) => void) | undefined;
  /** A certificate was read again, or could not be. */
  readonly onCertificate?: ((error?: unknown) => void) | undefined;
}

export interface SocketServer {
  readonly url: string;
  readonly port: number;
  /** Takes no new connections. */
  stop(): void;
  /** Takes no new connections; resolves when all are closed, or closes them after `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

const OPTIONS: OptionTypes<ServeOptions> = {
  host: "string",
  port: "number",
  maxMessageBytes: "number",
  pollMicros: "number",
  tls: "object",
  maxConnections: "number",
  maxConnectionsPerAddress: "number",
  trustProxy: "boolean",
  receiveMs: "number",
  waiting: "object",
  admits: "function",
  handshakeMs: "number",
  onConnection: "function",
  onRejected: "function",
  onCertificate: "function",
};
const REQUIRED = {
  host: '"127.0.0.1"',
  port: "8787",
  maxMessageBytes: "provider.limits.maxMessageBytes",
  onConnection: "(socket) => provider.accept(socket)",
};

const DEFAULTS = {
  maxConnections: 20_000,
  maxConnectionsPerAddress: 20_000,
  trustProxy: false,
  receiveMs: 60_000,
  handshakeMs: 10_000,
} as const;
const GRACE_MS = 2_000;
/** A peer that does not answer our close, and so may not read what waits for it, is cut off after this. */
const CLOSE_MS = 3_000;
/** How long a silent peer lasts before the kernel asks whether it is there. */
const KEEP_ALIVE_MS = 30_000;
const MAX_HEADER_BYTES = 8 << 10;
/** Of what a proxy says. */
const LONGEST_ADDRESS = 64;
/** Frames of a message: browsers cut long ones into pieces of 64 KiB and more. */
const MAX_FRAMES = 4_096;
/** Least bytes of the chunks of which `ws` keeps a frame (chunk-joiner.ts). */
const CHUNK_BYTES = 4 << 10;
/** Answers to pings that may wait for a client that does not read. */
const MAX_PONGS = 4;
const STATUS: Readonly<Partial<Record<Rejection, string>>> = {
  "foreign-page": "403 Forbidden",
  "too-many-of-address": "429 Too Many Requests",
  "too-many-connections": "503 Service Unavailable",
};

/** @throws TacetError io_failed if the address is taken or can't be used, or a certificate not read; bad_argument */
export async function serveSockets(given: ServeOptions): Promise<SocketServer> {
  checkOptions(given, OPTIONS, { of: "serveSockets", required: REQUIRED });
  const options = withDefaults({ ...DEFAULTS, pollMicros: usualPollMicros() }, given);
  const { host, port, tls, maxMessageBytes, pollMicros, onConnection, onCertificate } = options;
  const onRejected = options.onRejected ?? (() => {});
  const poller = new Poller(pollMicros);
  const writes = new TurnWrites();
  const limiter = new ConnectionLimiter(options, options.waiting ?? new WaitingBytes(), onRejected);
  const { http, endWatch } = await createServer(options, tls, onCertificate ?? (() => {}));
  http.maxConnections = options.maxConnections + 2 * options.maxConnectionsPerAddress;
  // A TLS stream has its address and port from the TCP socket below it.
  const early = new Map<string, () => void>();
  const nameOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`;
  http.on("connection", (socket: Socket) => {
    if (options.trustProxy) return;
    const leave = limiter.enterEarly(socket, networkOf(socket.remoteAddress ?? ""));
    if (leave === undefined) {
      socket.destroy();
      return;
    }
    const name = nameOf(socket);
    early.set(name, leave);
    socket.once("close", () => early.delete(name));
  });
  http.on("drop", () => onRejected("too-many-connections"));
  http.on("clientError", (_error, socket: Duplex) => {
    onRejected("bad-handshake");
    socket.destroy();
  });
  // Options of ws 8.19 and later that its types do not have yet.
  const socketOptions: ServerOptions &
    Record<"closeTimeout" | "maxPendingAutoPongs" | "maxFragments" | "maxBufferedChunks", number> = {
    noServer: true,
    perMessageDeflate: false,
    closeTimeout: CLOSE_MS,
    maxPendingAutoPongs: MAX_PONGS,
    maxFragments: MAX_FRAMES,
    maxBufferedChunks: Math.ceil(maxMessageBytes / CHUNK_BYTES) + MAX_FRAMES,
    // One byte more than a frame may have: what is larger is refused in the protocol where possible.
    maxPayload: maxMessageBytes + 1,
  };
  const sockets = new WebSocketServer(socketOptions);
  const foreign = (): Rejection => {
    onRejected("foreign-page");
    return "foreign-page";
  };
  http.on("upgrade", (request, stream: Duplex, head) => {
    const socket = stream as Socket;
    socket.on("error", () => {});
    early.get(nameOf(socket))?.();
    const address = addressOf(request, options.trustProxy);
    const rejection = options.admits?.(request) === false ? foreign() : limiter.enter(socket, address);
    if (rejection !== undefined) {
      socket.end(`HTTP/1.1 ${STATUS[rejection]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      socket.destroySoon();
      return;
    }
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const share = limiter.watch(socket, address, ws);
      const small = new SmallFrames();
      const served = { address: address.slice(0, LONGEST_ADDRESS), share, stream: socket, writes, small };
      onConnection(wrapSocket(ws, "server", poller, served));
    });
  });
  try {
    await listen(http, host, port);
  } catch (error) {
    endWatch();
    limiter.close();
    throw error;
  }
  const { address, family, port: bound } = http.address() as AddressInfo;
  let ended: Promise<void> | undefined;
  const stop = () => {
    ended ??= new Promise<void>((resolve) => http.close(() => resolve()));
    return ended;
  };
  return {
    port: bound,
    url: `${tls === undefined ? "ws" : "wss"}://${family === "IPv6" ? `[${address}]` : address}:${bound}`,
    stop: () => void stop(),
    async close(graceMs = GRACE_MS) {
      const timer = setTimeout(() => {
        for (const client of sockets.clients) client.terminate();
        http.closeAllConnections(); // those that never became WebSockets
      }, graceMs);
      await stop();
      clearTimeout(timer);
      endWatch();
      limiter.close();
    },
  };
}

/** An HTTP or HTTPS server that answers /healthz, and 426 to everything else, with short timeouts. */
async function createServer(
  { handshakeMs }: { readonly handshakeMs: number },
  tls: TlsFiles | undefined,
  onCertificate: (error?: unknown) => void,
): Promise<{ http: Server; endWatch: () => void }> {
  const times = {
    headersTimeout: handshakeMs,
    requestTimeout: handshakeMs,
    keepAliveTimeout: 1_000,
    connectionsCheckingInterval: Math.min(1_000, handshakeMs),
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  if (tls === undefined) return { http: createHttpServer(times, answerHttp), endWatch: () => {} };
  const pair = { ...(await readCertificate(tls)), minVersion: "TLSv1.2" as const };
  const https = createHttpsServer({ ...times, ...pair, handshakeTimeout: handshakeMs }, answerHttp);
  const endWatch = watchCertificate(
    tls,
    (changed) => {
      https.setSecureContext({ ...changed, minVersion: "TLSv1.2" });
      onCertificate();
    },
    onCertificate,
  );
  return { http: https as unknown as Server, endWatch };
}

const answerHttp: RequestListener = (request, response) => {
  const alive = request.url === "/healthz";
  response.writeHead(alive ? 200 : 426, { "content-type": "text/plain" });
  response.end(alive ? "ok\n" : "Tacet provider: connect with a WebSocket\n");
};

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error & { code?: string }) => {
      reject(
        new TacetError(
          "io_failed",
          `the provider can't listen on ${host}:${port} (${error.code ?? error.message})`,
          {
            hint: "another program may use the port: choose another with --port",
          },
        ),
      );
    };
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      server.on("error", () => {}); // a connection that could not be accepted (EMFILE): the next one may be
      resolve();
    });
  });
}
