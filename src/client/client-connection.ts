/**
 * One connection to a provider, seen from the client: handshake, bundle, keys, pipelined queries. No retry here; a
 * connection that is lost rejects everything that was open and stays lost.
 */
import { concatBytes } from "../base/bytes.ts";
import { errorCodeOfWire, TacetError } from "../base/errors.ts";
import type { MessageSocket } from "../base/platform.ts";
import type { BundleSignature } from "../bundle/signature.ts";
import { KEY_ID_BYTES } from "../pll/key-secrets.ts";
import {
  decodeProviderFrame,
  encodeClientFrame,
  encodeQueryFrame,
  FrameMemory,
  PROTOCOL_VERSION,
  type ProviderMessage,
} from "../wire/frames.ts";
import { type Limits, MAX_BUNDLE_BYTES, MAX_MESSAGE_BYTES } from "../wire/limits.ts";
import type { BudgetLeft } from "./budget-left.ts";
import { KeyDownload, type KeyRequest } from "./key-download.ts";
import type { FetchedKey, KeyLeft } from "./keys.ts";

export interface HelloInput {
  /** Empty: the provider's only or first adapter. */
  readonly adapter: string;
  readonly baseFingerprint: Uint8Array;
  /** The bundle that the client holds and insists on; empty: any. */
  readonly bundleDigest: Uint8Array;
  readonly token: string;
  /** Keys that the client still has. */
  readonly keyIds: readonly Uint8Array[];
}

export interface WelcomeInfo {
  readonly adapter: string;
  readonly bundleDigest: Uint8Array;
  readonly bundleBytes: number;
  readonly limits: Limits;
  /** Who signed the bundle, as the provider says: not checked yet. undefined: nobody. */
  readonly signature: BundleSignature | undefined;
  /** undefined: the provider sets none. */
  readonly budget: BudgetLeft | undefined;
  /** Of the keys that Hello named, those that may still be used. */
  readonly keys: readonly KeyLeft[];
  /** Query vectors of each group that one key answers. */
  readonly vectorsPerKey: number;
  /** This account is given the adapter with small differences, by which a copy of its answers is known. */
  readonly marked: boolean;
}

export interface QueryReply {
  /** Packed reply words. */
  readonly words: Uint8Array;
  /** Milliseconds that the provider says it computed. */
  readonly providerMs: number;
  /** Activation vectors that the account may still ask of this group; undefined: no budget. */
  readonly vectorsLeft?: number | undefined;
}

/** Bytes and messages on the wire, as far as the frames go. Keys are counted apart: a cost of many tokens at once. */
export interface Traffic {
  /** Without keys. */
  bytesUp: number;
  /** Without keys. */
  bytesDown: number;
  /** Answered queries. */
  roundTrips: number;
  /** Activation vectors in them: what a budget counts. */
  vectors: number;
  /** Keys that came. */
  keys: number;
  /** Bytes of them, and of asking for them. */
  keyBytes: number;
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

interface OpenQuery extends Waiting<QueryReply> {
  readonly vectors: number;
}

interface BundleDownload extends Waiting<Uint8Array> {
  readonly parts: Uint8Array[];
  received: number;
  readonly onProgress: (fraction: number) => void;
}

export class ClientConnection {
  readonly welcome: WelcomeInfo;
  /** Milliseconds from Hello to Welcome. */
  readonly welcomeMs: number;
  readonly #socket: MessageSocket;
  readonly #traffic: Traffic;
  readonly #queries = new Map<number, OpenQuery>();
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
    socket.onClose = (code, reason) => this.#lose(closedError(code, reason));
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
      this.#download = { parts: [], received: 0, onProgress, resolve, reject };
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
        this.#bundlePart(message.value);
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
        else if (keyRequestId === 0) this.#lose(error);
        else {
          const download = this.#keyOf(keyRequestId);
          this.#keys.delete(keyRequestId);
          download.fail(error);
        }
        break;
      }
      case "goodbye":
        this.#lose(new TacetError("connection_lost", "the provider said goodbye", { hint: RETRY_HINT }));
        break;
      case "welcome":
        throw new TacetError("bad_frame", "the provider said Welcome twice");
    }
  }

  #take(id: number): OpenQuery {
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

  #bundlePart(part: Extract<ProviderMessage, { case: "bundlePart" }>["value"]): void {
    const download = this.#download;
    const total = this.welcome.bundleBytes;
    if (download === undefined || Number(part.offset) !== download.received || part.data.length === 0) {
      throw new TacetError("bad_frame", "a part of the bundle came out of order");
    }
    download.received += part.data.length;
    if (download.received > total || part.last !== (download.received === total)) {
      throw new TacetError("bad_frame", "the bundle has another size than the provider said");
    }
    download.parts.push(part.data.slice());
    download.onProgress(download.received / total);
    if (!part.last) return;
    this.#download = undefined;
    download.resolve(concatBytes(...download.parts));
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
    this.#download?.reject(this.#lost);
    this.#download = undefined;
  }
}

const RETRY_HINT = "check that the provider runs and can be reached, then try again";

function closedError(code: number, reason: string): TacetError {
  const why = printable(reason) || `close code ${code}`;
  return new TacetError("connection_lost", `the connection to the provider was lost (${why})`, {
    hint: RETRY_HINT,
  });
}

function failureError(failure: { code: number; message: string; hint: string }): TacetError {
  const hint = printable(failure.hint);
  const message = printable(failure.message) || "the provider refused";
  return new TacetError(errorCodeOfWire(failure.code), message, hint === "" ? {} : { hint });
}

/** A peer's text for a terminal: one line, no control characters, bounded. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ").slice(0, 500);
}

function readWelcome(message: ProviderMessage): WelcomeInfo {
  if (message.case === "failure") throw failureError(message.value);
  if (message.case === "goodbye") {
    throw new TacetError("connection_lost", "the provider is shutting down", { hint: RETRY_HINT });
  }
  if (message.case !== "welcome")
    throw new TacetError("bad_frame", "the provider did not answer Hello with Welcome");
  const { version, adapter, bundleDigest, bundleBytes, limits, budget } = message.value;
  const { bundleSigner, bundleSignature, keys, vectorsPerKey, marked } = message.value;
  if (version !== PROTOCOL_VERSION) {
    throw new TacetError(
      "unsupported_version",
      `the provider speaks protocol version ${version}, this is ${PROTOCOL_VERSION}`,
      { hint: "use the same version of tacet as the provider" },
    );
  }
  const positive = [limits?.maxMessageBytes, limits?.maxVectors, limits?.maxInFlight].every(
    (n) => (n ?? 0) > 0,
  );
  const areKeys = vectorsPerKey > 0 && keys.every(({ keyId }) => keyId.length === KEY_ID_BYTES);
  if (bundleDigest.length !== 32 || !limits || !positive || !areKeys) {
    throw new TacetError("bad_frame", "the provider's Welcome is incomplete");
  }
  return {
    adapter,
    bundleDigest: bundleDigest.slice(),
    bundleBytes: Number(bundleBytes),
    limits: {
      maxMessageBytes: Math.min(limits.maxMessageBytes, MAX_MESSAGE_BYTES),
      maxVectors: limits.maxVectors,
      maxInFlight: limits.maxInFlight,
    },
    signature:
      bundleSigner.length === 0 && bundleSignature.length === 0
        ? undefined
        : { publicKey: bundleSigner.slice(), signature: bundleSignature.slice() },
    budget: budget && {
      vectors: Number(budget.vectors),
      windowSeconds: budget.windowSeconds,
      left: Number(budget.left),
    },
    keys: keys.map(({ keyId, vectorsLeft }) => ({ keyId: keyId.slice(), vectorsLeft })),
    vectorsPerKey,
    marked,
  };
}
