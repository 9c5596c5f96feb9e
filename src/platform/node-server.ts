/** A WebSocket server in Node: hands every connection over as a {@link MessageSocket}. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { TacetError } from "../base/errors.ts";
import type { MessageSocket } from "../base/platform.ts";
import { Poller } from "./node-polling.ts";
import { wrapSocket } from "./node-socket.ts";

export interface ServeOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly maxMessageBytes: number;
  /** Longest time that the server polls for a message before it sleeps, in microseconds; 0: not at all. */
  readonly pollMicros?: number;
  readonly onConnection: (socket: MessageSocket) => void;
}

export interface SocketServer {
  readonly url: string;
  readonly port: number;
  /** Takes no new connections; resolves when all are closed, or closes them after `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

/** A small model asks again within this time; a large one takes longer, and is not polled for (node-polling.ts). */
const POLL_MICROS = 2_000;
const GRACE_MS = 2_000;

/** @throws TacetError io_failed if the address is taken or can't be used */
export async function serveSockets(options: ServeOptions): Promise<SocketServer> {
  const { host, port, maxMessageBytes, pollMicros = POLL_MICROS, onConnection } = options;
  const poller = new Poller(pollMicros);
  const http = createServer((_request, response) => {
    response.writeHead(426, { "content-type": "text/plain" });
    response.end("Tacet provider: connect with a WebSocket\n");
  });
  const sockets = new WebSocketServer({
    server: http,
    perMessageDeflate: false,
    // One byte more than a frame may have: what is larger is refused in the protocol where possible.
    maxPayload: maxMessageBytes + 1,
  });
  sockets.on("connection", (socket) => onConnection(wrapSocket(socket, poller)));
  sockets.on("error", () => {}); // the HTTP server reports it
  await listen(http, host, port);
  const address = http.address() as AddressInfo;
  return {
    port: address.port,
    url: `ws://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`,
    async close(graceMs = GRACE_MS) {
      const timer = setTimeout(() => {
        for (const client of sockets.clients) client.terminate();
        http.closeAllConnections(); // those that never became WebSockets
      }, graceMs);
      await new Promise<void>((resolve) => {
        sockets.close();
        http.close(() => resolve());
      });
      clearTimeout(timer);
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: Error & { code?: string }) => {
      reject(
        new TacetError(
          "io_failed",
          `the provider can't listen on ${host}:${port} (${error.code ?? error.message})`,
          {
            hint: "another program may use the port: choose another with --port",
          },
        ),
      );
    });
    server.listen(port, host, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}
