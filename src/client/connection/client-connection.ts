/**
 * One connection to a provider, seen from the client: handshake, bundle, keys, pipelined queries. No retry here; a
 * connection that is lost rejects everything that was open and stays lost.
 */
import { TacetError } from "../../base/errors.ts";
import type { MessageSocket } from "../../base/platform.ts";
import {
  decodeProviderFrame,
  encodeClientFrame,
  encodeQueryFrame,
  FrameMemory,
  PROTOCOL_VERSION,
  type ProviderMessage,
} from "../../wire/frames.ts";
import { MAX_BUNDLE_BYTES, MAX_MESSAGE_BYTES } from "../../wire/limits.ts";
import type { FetchedKey } from "../keys.ts";
import { BundleDownload, outOfOrder } from "./bundle-download.ts";
import { KeyDownload, type KeyRequest } from "./key-download.ts";
import { closedError, failureError, RETRY_HINT } from "./provider-failures.ts";
import type { Traffic } from "./traffic.ts";
import { type HelloInput, readWelcome, type WelcomeInfo } from "./welcome.ts";

export interface QueryReply {
  /** Packed reply words. */
  readonly words: Uint8Array;
  /** Milliseconds that the provider says it computed. */
  readonly providerMs: number;
  /** Activation vectors that the account may still ask of this group; undefined: no budget. */
  readonly vectorsLeft?: number | undefined;
}

export interface Timeouts {
  /** Milliseconds for the Welcome. */
  readonly handshakeMs: number;
  /** Milliseconds of silence after which a provider that owes something counts as lost. */
  readonly silenceMs: number;
}

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

interface WaitingQuery extends Waiting<QueryReply> {
  readonly vectors: number;
}

/** A provider that ends a connection closes it. After so many milliseconds the client does. */
const CLOSE_MS = 1_000;

export class ClientConnection {
  readonly welcome: WelcomeInfo;
  /** Milliseconds from Hello to Welcome. */
  readonly welcomeMs: number;
  readonly #socket: MessageSocket;
  readonly #traffic: Traffic;
  readonly #queries = new Map<number, WaitingQuery>();
  /** Those that wait until fewer queries are open. */
  readonly #waiting: (() => void)[] = [];
  #download: BundleDownload | undefined;
  /** Keys on their way, by request. */
  readonly #keys = new Map<number, KeyDownload>();
  #nextId = 1;
  #lost: TacetError | undefined;
  readonly #silenceMs: number;
  readonly #frameMemory = new FrameMemory();
  /** When the provider was last heard, or began to owe something. */
  #lastHeard = 0;
  #watch: unknown;
  #closing: unknown;

  private constructor(
    socket: MessageSocket,
    traffic: Traffic,
    welcome: WelcomeInfo,
    { welcomeMs, silenceMs }: { readonly welcomeMs: number; readonly silenceMs: number },
  ) {
    this.#socket = socket;
    this.#traffic = traffic;
    this.welcome = welcome;
    this.welcomeMs = welcomeMs;
    this.#silenceMs = silenceMs;
    socket.onMessage = (message) => this.#receive(message);
    socket.onClose = (code, reason) => {
      clearTimeout(this.#closing);
      this.#lose(closedError(code, reason));
    };
  }

  /**
   * Says Hello on an open socket and waits for the Welcome.
   *
   * @throws TacetError what the provider refuses with; timed_out, connection_lost, bad_frame
   */
  static async open(
    socket: MessageSocket,
    hello: HelloInput,
    traffic: Traffic,
    { handshakeMs, silenceMs }: Timeouts,
  ): Promise<ClientConnection> {
    let timer: unknown;
    let sent = 0;
    try {
      return await new Promise<ClientConnection>((resolve, reject) => {
        timer = setTimeout(
          () => reject(new TacetError("timed_out", "the provider did not answer Hello")),
          handshakeMs,
        );
        socket.onClose = (code, reason) => reject(closedError(code, reason));
        socket.onMessage = (bytes) => {
          traffic.bytesDown += bytes.length;
          try {
            const welcome = readWelcome(decodeProviderFrame(bytes, MAX_MESSAGE_BYTES));
            const times = { welcomeMs: performance.now() - sent, silenceMs };
            // Here, not after the await: what follows the Welcome at once must find its receiver.
            resolve(new ClientConnection(socket, traffic, welcome, times));
          } catch (error) {
            reject(error as Error);
          }
        };
        const value = { version: PROTOCOL_VERSION, ...hello, keyIds: [...hello.keyIds] };
        const frame = encodeClientFrame({ case: "hello", value });
        traffic.bytesUp += frame.length;
        sent = performance.now();
        socket.send(frame);
      });
    } catch (error) {
      socket.onMessage = () => {};
      socket.onClose = () => {};
      socket.close(1000, "refused");
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** @throws TacetError connection_lost; too_large if it exceeds what a client accepts */
  fetchBundle(onProgress: (fraction: number) => void): Promise<Uint8Array> {
    if (this.welcome.bundleBytes > MAX_BUNDLE_BYTES) {
      return Promise.reject(new TacetError("too_large", `the bundle has ${this.welcome.bundleBytes} bytes`));
    }
    return new Promise((resolve, reject) => {
      if (this.#lost) return reject(this.#lost);
      if (this.#download) return reject(new TypeError("the bundle is being fetched"));
      this.#expectReply();
      this.#download = new BundleDownload(this.welcome.bundleBytes, onProgress, { resolve, reject });
      this.#send({ case: "fetchBundle", value: {} });
    });
  }

  /**
   * Asks for a key.
   *
   * @throws TacetError bad_key, which ends the connection; what the provider refuses with; connection_lost
   */
  fetchKey(request: Omit<KeyRequest, "vectorsPerKey">): Promise<FetchedKey> {
    return new Promise((resolve, reject) => {
      if (this.#lost) return reject(this.#lost);
      const id = this.#newId();
      this.#expectReply();
      const { vectorsPerKey } = this.welcome;
      this.#keys.set(id, new KeyDownload({ ...request, vectorsPerKey }, { resolve, reject }));
      const value = { id, ...(request.keyId && { keyId: request.keyId }) };
      const frame = encodeClientFrame({ case: "fetchKey", value });
      this.#traffic.keyBytes += frame.length;
      this.#socket.send(frame);
    });
  }

  /**
   * Sends one encrypted query, at once or when fewer are open than the provider takes at a time.
   *
   * @throws TacetError what the provider refuses with; connection_lost
   */
  async query(
    group: number,
    vectors: number,
    ciphertext: Uint8Array,
    keyId: Uint8Array,
  ): Promise<QueryReply> {
    while (!this.#lost && this.#queries.size >= this.welcome.limits.maxInFlight) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return await new Promise((resolve, reject) => {
      if (this.#lost) return reject(this.#lost);
      const id = this.#newId();
      this.#expectReply();
      this.#queries.set(id, { resolve, reject, vectors });
      const memory = this.#socket.copies ? this.#frameMemory : undefined;
      this.#sendBytes(encodeQueryFrame({ id, group, vectors, ciphertext, keyId }, memory));
    });
  }

  /** Calls `send`; the queries that it sends travel together. */
  together(send: () => void): void {
    if (this.#socket.together) this.#socket.together(send);
    else send();
  }

  close(): void {
    if (this.#lost) return;
    this.#send({ case: "goodbye", value: { reason: "" } });
    this.#socket.close(1000, "goodbye");
    this.#lose(new TacetError("connection_lost", "the connection was closed"));
  }

  #owesNothing(): boolean {
    return this.#queries.size === 0 && this.#download === undefined && this.#keys.size === 0;
  }

  #newId(): number {
    const id = this.#nextId;
    this.#nextId = (id % 0xffffffff) + 1;
    return id;
  }

  /** Starts the watch over a provider that is about to owe something; one timer serves any number of queries. */
  #expectReply(): void {
    if (this.#owesNothing()) this.#lastHeard = performance.now();
    this.#watch ??= setTimeout(() => this.#checkSilence(), this.#silenceMs);
  }

  #checkSilence(): void {
    this.#watch = undefined;
    if (this.#lost || this.#owesNothing()) return;
    const left = this.#lastHeard + this.#silenceMs - performance.now();
    if (left > 0) {
      this.#watch = setTimeout(() => this.#checkSilence(), left);
      return;
    }
    this.#lose(new TacetError("timed_out", "the provider stopped answering", { hint: RETRY_HINT }));
    this.#socket.close(1000, "timed out");
  }

  #send(frame: Parameters<typeof encodeClientFrame>[0]): void {
    this.#sendBytes(encodeClientFrame(frame));
  }

  #sendBytes(bytes: Uint8Array): void {
    this.#traffic.bytesUp += bytes.length;
    this.#socket.send(bytes);
  }

  #receive(bytes: Uint8Array): void {
    this.#lastHeard = performance.now();
    try {
      const message = decodeProviderFrame(bytes, MAX_MESSAGE_BYTES);
      const isKey = message.case === "keyMade" || message.case === "keyPart";
      this.#traffic[isKey ? "keyBytes" : "bytesDown"] += bytes.length;
      this.#handle(message);
    } catch (error) {
      this.#refuse(error as Error);
    }
  }

  /** The provider has sent what it must not. */
  #refuse(error: Error): void {
    this.#lose(error);
    this.#socket.close(1002, "bad frame");
  }

  /** The provider has said that the connection ends. One that then keeps it open would keep this process alive. */
  #ended(error: TacetError): void {
    this.#lose(error);
    this.#closing ??= setTimeout(() => this.#socket.close(1000, "the provider ended it"), CLOSE_MS);
  }

  #handle(message: ProviderMessage): void {
    switch (message.case) {
      case "answer": {
        const { id, words, computeMicros, vectorsLeft } = message.value;
        const waiting = this.#take(id);
        this.#traffic.roundTrips++;
        this.#traffic.vectors += waiting.vectors;
        waiting.resolve({
          words,
          providerMs: computeMicros / 1000,
          vectorsLeft: vectorsLeft === undefined ? undefined : Number(vectorsLeft),
        });
        break;
      }
      case "bundlePart":
        if (this.#download === undefined) throw outOfOrder();
        if (this.#download.part(message.value)) this.#download = undefined;
        break;
      case "keyMade":
        this.#keyOf(message.value.id).made(message.value);
        break;
      case "keyPart": {
        const { id } = message.value;
        const checked = this.#keyOf(id).part(message.value);
        if (checked === undefined) break;
        this.#keys.delete(id);
        checked.then(
          () => this.#traffic.keys++,
          (error: Error) => this.#refuse(error),
        );
        break;
      }
      case "failure": {
        const error = failureError(message.value);
        const { queryId, keyRequestId } = message.value;
        if (queryId !== 0) this.#take(queryId).reject(error);
        else if (keyRequestId === 0) this.#ended(error);
        else {
          const download = this.#keyOf(keyRequestId);
          this.#keys.delete(keyRequestId);
          download.fail(error);
        }
        break;
      }
      case "goodbye":
        this.#ended(new TacetError("connection_lost", "the provider said goodbye", { hint: RETRY_HINT }));
        break;
      case "welcome":
        throw new TacetError("bad_frame", "the provider said Welcome twice");
    }
  }

  #take(id: number): WaitingQuery {
    const waiting = this.#queries.get(id);
    if (waiting === undefined)
      throw new TacetError("bad_frame", "the provider answered a query that was not asked");
    this.#queries.delete(id);
    this.#waiting.shift()?.();
    return waiting;
  }

  #keyOf(id: number): KeyDownload {
    const download = this.#keys.get(id);
    if (download === undefined)
      throw new TacetError("bad_frame", "the provider sent a key that was not asked for");
    return download;
  }

  #lose(error: Error): void {
    if (this.#lost) return;
    clearTimeout(this.#watch);
    this.#lost =
      error instanceof TacetError ? error : new TacetError("internal", "the client failed on a reply");
    for (const waiting of this.#queries.values()) waiting.reject(this.#lost);
    this.#queries.clear();
    for (const wake of this.#waiting.splice(0)) wake();
    for (const download of this.#keys.values()) download.fail(this.#lost);
    this.#keys.clear();
    this.#download?.fail(this.#lost);
    this.#download = undefined;
  }
}
