/** A TCP proxy that keeps every byte that passes, in both directions, and reads the WebSocket messages out of them. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Recording {
  /** Every byte, the HTTP upgrade included. */
  readonly up: Buffer;
  readonly down: Buffer;
}

export interface RecordingProxy {
  readonly url: string;
  /** One for each connection so far. */
  recordings(): Recording[];
  close(): Promise<void>;
}

export async function recordingProxy(targetUrl: string): Promise<RecordingProxy> {
  const target = new URL(targetUrl);
  const connections: { up: Buffer[]; down: Buffer[] }[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const kept = { up: [] as Buffer[], down: [] as Buffer[] };
    connections.push(kept);
    const provider = connect(Number(target.port), target.hostname);
    const join = (from: Socket, to: Socket, into: Buffer[]) => {
      sockets.add(from);
      from.setNoDelay(true);
      from.on("data", (bytes: Buffer) => {
        into.push(Buffer.from(bytes));
        to.write(bytes);
      });
      from.on("close", () => to.destroy());
      from.on("error", () => to.destroy());
    };
    join(client, provider, kept.up);
    join(provider, client, kept.down);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    recordings: () =>
      connections.map(({ up, down }) => ({ up: Buffer.concat(up), down: Buffer.concat(down) })),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

export interface WebSocketStream {
  /** The HTTP part. */
  readonly upgrade: string;
  /** Payloads of binary messages, unmasked. */
  readonly messages: Buffer[];
  /** Other frames: opcode and payload. */
  readonly control: { opcode: number; payload: Buffer }[];
  /** Bytes that are neither: 0 in a stream that was read whole. */
  readonly rest: number;
}

/** RFC 6455 frames, as ws sends them: no extension, a message may have several frames. */
export function readWebSocket(bytes: Buffer): WebSocketStream {
  const end = bytes.indexOf("\r\n\r\n") + 4;
  const messages: Buffer[] = [];
  const control: { opcode: number; payload: Buffer }[] = [];
  let parts: Buffer[] = [];
  let at = end;
  while (at + 2 <= bytes.length) {
    const [first, second] = [bytes[at], bytes[at + 1]];
    let length = second & 127;
    let header = 2;
    if (length === 126) {
      length = bytes.readUInt16BE(at + 2);
      header = 4;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(at + 2));
      header = 10;
    }
    const mask = second & 128 ? bytes.subarray(at + header, at + header + 4) : undefined;
    if (mask) header += 4;
    if (at + header + length > bytes.length) break;
    const payload = Buffer.from(bytes.subarray(at + header, at + header + length));
    if (mask) for (let i = 0; i < length; i++) payload[i] ^= mask[i & 3];
    at += header + length;
    const opcode = first & 15;
    if (opcode > 2) {
      control.push({ opcode, payload });
      continue;
    }
    parts.push(payload);
    if (first & 128) {
      messages.push(Buffer.concat(parts));
      parts = [];
    }
  }
  return { upgrade: bytes.subarray(0, end).toString("latin1"), messages, control, rest: bytes.length - at };
}
