// Light clients in a process of their own: each sends a query, waits for its answer and sends the next, under one key
// after the other, so what the provider does for keys is in its times. What they send was made before, and of an answer
// they read no more than that it is one: they take the processor's time from the provider, and should take little.
// Argument: JSON of LoadOptions. Prints JSON of LoadReport.
import { request } from "node:http";
import type { Socket } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export interface LoadOptions {
  /** Of the version whose frames are sent, built. */
  readonly folder: string;
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
  /** Processor time of the clients meanwhile, in milliseconds. */
  readonly cpuMs: number;
}

const options = JSON.parse(process.argv[2]) as LoadOptions;
const frames: typeof import("../src/wire/frames.ts") = await import(
  pathToFileURL(join(options.folder, "dist/wire/frames.js")).href
);
const ciphertext = new Uint8Array(options.vectors * options.queryBytes);
for (let at = 0; at < ciphertext.length; at += 65_536)
  crypto.getRandomValues(ciphertext.subarray(at, at + 65_536));
// A frame has the query's id in it; ids of different connections have nothing to do with each other.
const queryUnder = (keyId: Uint8Array) =>
  masked(
    frames.encodeClientFrame({
      case: "query",
      value: { id: 1, group: 0, vectors: options.vectors, ciphertext, keyId },
    }),
  );
const hello = masked(
  frames.encodeClientFrame({
    case: "hello",
    value: { version: frames.PROTOCOL_VERSION, baseFingerprint: new Uint8Array(32).fill(0x5a) },
  }),
);
/** The tags that answers and parts of keys begin with, and nothing else does. Older versions have no keys. */
const [answerTag] = frames.encodeProviderFrame({ case: "answer", value: { id: 1 } });
const keyPartTag = (7 << 3) | 2;

/** A WebSocket frame of a client (RFC 6455, section 5.2), with one mask for all: nobody but the provider reads it. */
function masked(message: Uint8Array): Buffer {
  const length = message.length;
  const head = Buffer.alloc(length < 126 ? 6 : length < 65_536 ? 8 : 14);
  head[0] = 0x82; // a whole binary message
  if (length < 126) head[1] = 0x80 | length;
  else if (length < 65_536) {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 0x80 | 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  const mask = [0x37, 0xfa, 0x21, 0x3d];
  head.set(mask, head.length - 4);
  return Buffer.concat([head, message.map((byte, i) => byte ^ mask[i & 3])]);
}

/** A key of this connection: what a query under it is, and the vectors that it still answers. */
interface Key {
  readonly query: Buffer;
  left: number;
}

/** Sends one query after the other, and fetches the next key when two thirds of one are used, as clients do. */
class LoadClient {
  readonly #socket: Socket;
  /** Bytes that have come and are no whole message. */
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes to come of a part of a key, which nobody reads. */
  #unread = 0;
  /** 0: a version without keys. */
  #vectorsPerKey = 0;
  #key: Key | undefined;
  #next: Key | undefined;
  #isFetching = false;
  /** KeyMade has come, its part not yet. */
  #made: Uint8Array | undefined;
  #sent = 0;
  #onReady: () => void = () => {};
  #onEnd: (error?: Error) => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("close", () => this.#onEnd(new Error("the provider closed the connection")));
  }

  /** Resolves when the provider has said Welcome and the first key is there. */
  async open(): Promise<void> {
    const ready = new Promise<void>((resolve, reject) => {
      this.#onReady = resolve;
      this.#onEnd = (error) => error && reject(error);
    });
    this.#socket.write(hello);
    await ready;
  }

  async replay(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#onEnd = (error) => (error ? reject(error) : resolve());
      this.#ask();
    });
  }

  #read(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (this.#unread > 0) {
      const read = Math.min(this.#unread, bytes.length);
      this.#unread -= read;
      bytes = bytes.subarray(read);
      if (this.#unread === 0) this.#keyCame();
    }
    while (bytes.length >= 2) {
      const short = bytes[1];
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (bytes.length <= head) break;
      const length =
        short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
      if (bytes[0] !== 0x82) this.#onEnd(new Error(`a frame of the kind ${bytes[0]} came`));
      const end = head + length;
      if (bytes.length < end && bytes[head] !== keyPartTag) break;
      if (bytes[head] !== keyPartTag) this.#heard(bytes.subarray(head, end));
      else if (bytes.length >= end) this.#keyCame();
      else this.#unread = end - bytes.length;
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }

  #heard(bytes: Buffer): void {
    if (bytes[0] === answerTag) {
      this.#answered();
      return;
    }
    const message = frames.decodeProviderFrame(bytes, bytes.length);
    switch (message.case) {
      case "welcome":
        this.#vectorsPerKey = message.value.vectorsPerKey ?? 0;
        if (this.#vectorsPerKey === 0) {
          this.#arrived({ query: queryUnder(new Uint8Array(0)), left: Number.POSITIVE_INFINITY });
        } else this.#fetchKey();
        break;
      case "keyMade":
        this.#made = message.value.keyId.slice();
        break;
      case "failure":
        this.#onEnd(new Error(`the provider refused: ${message.value.message}`));
        break;
      default:
        break;
    }
  }

  /** All of a part of a key has come, and so the key: the adapter has one group. */
  #keyCame(): void {
    this.#arrived({ query: queryUnder(this.#made!), left: this.#vectorsPerKey });
  }

  #fetchKey(): void {
    if (this.#isFetching || this.#next) return;
    this.#isFetching = true;
    this.#socket.write(fetchKey());
  }

  #arrived(key: Key): void {
    this.#isFetching = false;
    if (this.#key === undefined) {
      this.#key = key;
      this.#onReady();
      return;
    }
    this.#next = key;
    if (this.#sent === 0) this.#ask();
  }

  #ask(): void {
    const { vectors } = options;
    if (this.#key!.left < vectors) {
      this.#sent = 0;
      // Not one that is counted: the next key is on its way.
      if (this.#next === undefined) {
        this.#fetchKey();
        return;
      }
      this.#key = this.#next;
      this.#next = undefined;
    }
    this.#key!.left -= vectors;
    this.#sent = now();
    this.#socket.write(this.#key!.query);
    if (this.#key!.left < this.#vectorsPerKey / 3) this.#fetchKey();
  }

  #answered(): void {
    const at = now();
    if (at >= fromMs && at <= toMs) latenciesMs.push(at - this.#sent);
    if (at < toMs) {
      this.#ask();
      return;
    }
    const end = this.#onEnd;
    this.#onEnd = () => {};
    this.#socket.destroy();
    end();
  }
}

let madeFetchKey: Buffer | undefined;

function fetchKey(): Buffer {
  madeFetchKey ??= masked(frames.encodeClientFrame({ case: "fetchKey", value: { id: 1 } }));
  return madeFetchKey;
}

function connect(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(options.url);
    const headers = {
      ...{ Connection: "Upgrade", Upgrade: "websocket" },
      ...{ "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" },
    };
    request({ hostname, port, headers, agent: false })
      .on("upgrade", (_response, socket: Socket, head: Buffer) => {
        if (head.length > 0) socket.unshift(head);
        socket.setNoDelay(true);
        resolve(socket);
      })
      .on("error", reject)
      .end();
  });
}

const now = () => performance.timeOrigin + performance.now();
const clients = await Promise.all(
  Array.from({ length: options.clients }, async () => {
    const client = new LoadClient(await connect());
    await client.open();
    return client;
  }),
);
const fromMs = now() + options.warmUpMs;
const toMs = fromMs + options.measureMs;
const latenciesMs: number[] = [];
let before = process.cpuUsage();
const begun = setTimeout(() => (before = process.cpuUsage()), options.warmUpMs);
await Promise.all(clients.map((client) => client.replay()));
clearTimeout(begun);
const { user, system } = process.cpuUsage(before);
process.stdout.write(
  JSON.stringify({ latenciesMs, fromMs, toMs, cpuMs: (user + system) / 1000 } satisfies LoadReport),
);
