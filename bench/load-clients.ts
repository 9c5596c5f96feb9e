// Light clients in a process of their own: each sends a query, waits for its answer and sends the next, under one key
// after the other, so what the provider does for keys is in its times.
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

/** A key of this connection: what a query under it is, and the vectors that it still answers. */
interface Key {
  readonly frame: Uint8Array;
  left: number;
}

/** Sends one query after the other, and fetches the next key when two thirds of one are used, as clients do. */
class LoadClient {
  readonly #socket: WebSocket;
  #vectorsPerKey = 0;
  #key: Key | undefined;
  #next: Key | undefined;
  #isFetching = false;
  /** KeyMade has come, its part not yet. */
  #made: Uint8Array | undefined;
  #sent = 0;
  #onWelcome: () => void = () => {};
  #onEnd: (error?: Error) => void = () => {};

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer) => this.#heard(decodeProviderFrame(data, data.length)));
    socket.on("close", () => this.#onEnd(new Error("the provider closed the connection")));
  }

  /** Resolves when the provider has said Welcome and the first key is there. */
  async open(): Promise<void> {
    const welcomed = new Promise<void>((resolve) => (this.#onWelcome = resolve));
    this.#socket.send(hello);
    await welcomed;
  }

  async replay(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#onEnd = (error) => (error ? reject(error) : resolve());
      this.#ask();
    });
  }

  #heard(message: ReturnType<typeof decodeProviderFrame>): void {
    switch (message.case) {
      case "welcome":
        this.#vectorsPerKey = message.value.vectorsPerKey;
        this.#fetchKey();
        break;
      case "keyMade":
        this.#made = message.value.keyId.slice();
        break;
      // The adapter has one group; what is in its part is not needed here.
      case "keyPart":
        this.#arrived({ frame: frameUnder(this.#made!), left: this.#vectorsPerKey });
        break;
      case "answer":
        this.#answered();
        break;
      case "failure":
        this.#onEnd(new Error(`the provider refused: ${message.value.message}`));
        break;
      default:
        break;
    }
  }

  #fetchKey(): void {
    if (this.#isFetching || this.#next) return;
    this.#isFetching = true;
    this.#socket.send(encodeClientFrame({ case: "fetchKey", value: { id: 1 } }));
  }

  #arrived(key: Key): void {
    this.#isFetching = false;
    if (this.#key === undefined) {
      this.#key = key;
      this.#onWelcome();
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
    this.#socket.send(this.#key!.frame);
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
    this.#socket.terminate();
    end();
  }
}

const now = () => performance.timeOrigin + performance.now();
const clients = await Promise.all(
  Array.from({ length: options.clients }, async () => {
    const socket = new WebSocket(options.url, { perMessageDeflate: false });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    const client = new LoadClient(socket);
    await client.open();
    return client;
  }),
);
const fromMs = now() + options.warmUpMs;
const toMs = fromMs + options.measureMs;
const latenciesMs: number[] = [];
await Promise.all(clients.map((client) => client.replay()));
process.stdout.write(JSON.stringify({ latenciesMs, fromMs, toMs } satisfies LoadReport));
