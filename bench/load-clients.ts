// Light clients in a process of their own: each sends a query, waits for its answer and sends the next.
// Argument: JSON of LoadOptions. Prints JSON of LoadReport.
import { WebSocket } from "ws";
import { decodeProviderFrame, encodeClientFrame, PROTOCOL_VERSION } from "../src/wire/frames.ts";

export interface LoadOptions {
  readonly url: string;
  readonly clients: number;
  readonly vectors: number;
  readonly queryBytes: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface LoadReport {
  /** Of queries that were answered while it was measured. */
  readonly latenciesMs: readonly number[];
  /** performance.timeOrigin-based times of the measurement. */
  readonly fromMs: number;
  readonly toMs: number;
}

const options = JSON.parse(process.argv[2]) as LoadOptions;
const ciphertext = new Uint8Array(options.vectors * options.queryBytes);
for (let at = 0; at < ciphertext.length; at += 65_536)
  crypto.getRandomValues(ciphertext.subarray(at, at + 65_536));
// A frame has the query's id in it; ids of different connections have nothing to do with each other.
const frameUnder = (keyId: Uint8Array) =>
  encodeClientFrame({
    case: "query",
    value: { id: 1, group: 0, vectors: options.vectors, ciphertext, keyId },
  });
const hello = encodeClientFrame({
  case: "hello",
  value: { version: PROTOCOL_VERSION, baseFingerprint: new Uint8Array(32).fill(0x5a) },
});

const sockets = await Promise.all(
  Array.from({ length: options.clients }, async () => {
    const socket = new WebSocket(options.url, { perMessageDeflate: false });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    const welcome = new Promise((resolve) => socket.once("message", resolve));
    socket.send(hello);
    await welcome;
    return { socket, frame: frameUnder(await fetchKey(socket)) };
  }),
);
const now = () => performance.timeOrigin + performance.now();
const fromMs = now() + options.warmUpMs;
const toMs = fromMs + options.measureMs;
const latenciesMs: number[] = [];
await Promise.all(sockets.map(replay));
process.stdout.write(JSON.stringify({ latenciesMs, fromMs, toMs } satisfies LoadReport));

/** A key of this connection; its one part is not needed here. */
async function fetchKey(socket: WebSocket): Promise<Uint8Array> {
  return await new Promise((resolve) => {
    let id = new Uint8Array(0);
    socket.on("message", (data: Buffer) => {
      const message = decodeProviderFrame(data, data.length);
      if (message.case === "keyMade") id = message.value.keyId.slice();
      if (message.case !== "keyPart") return;
      socket.removeAllListeners("message");
      resolve(id);
    });
    socket.send(encodeClientFrame({ case: "fetchKey", value: { id: 1 } }));
  });
}

async function replay({ socket, frame }: { socket: WebSocket; frame: Uint8Array }): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let sent = 0;
    const send = () => {
      sent = now();
      socket.send(frame);
    };
    socket.on("close", () => reject(new Error("the provider closed the connection")));
    socket.on("message", () => {
      const at = now();
      if (at >= fromMs && at <= toMs) latenciesMs.push(at - sent);
      if (at < toMs) return send();
      socket.removeAllListeners("close");
      socket.terminate();
      resolve();
    });
    send();
  });
}
