/**
 * One connection's protocol state: Hello → Welcome, then bundle requests and queries (docs/protocol.md §Connection).
 * A fault in one query fails that query; a fault in framing or order closes the connection. A fault of ours is
 * reported as internal, without its text.
 */
import { assertNever, TacetError } from "../base/errors.ts";
import type { MessageSocket } from "../base/platform.ts";
import type { WaitingShare } from "../base/waiting-share.ts";
import { type ClientMessage, decodeClientFrame } from "../wire/frames.ts";
import { type Allowance, refusedTooOften } from "./allowance.ts";
import { atTime } from "./at-time.ts";
import type { Admission, ConnectionHost } from "./connection-host.ts";
import type { ClientName } from "./events.ts";
import { checkVersion, type Hello, type WelcomeFacts, welcomeFacts, welcomeMessage } from "./handshake.ts";
import type { KeyLedger } from "./key-ledger.ts";
import { KeySender } from "./key-sender.ts";
import type { Meter } from "./meter.ts";
import { HELD_COST, OpenQueries, type Query } from "./open-queries.ts";
import { Outbox } from "./outbox.ts";
import type { ServedAdapter } from "./served-adapter.ts";

/** A Hello has some 200 bytes and a token. */
const MAX_HELLO_BYTES = 8 << 10;
/** What may come after it until its key has been looked up, with what keeping it costs. */
const MAX_EARLY_BYTES = 64 << 10;
/** Failures that are no fault of the client's: it may go on asking. */
const OURS: ReadonlySet<string> = new Set(["internal", "unavailable"]);

type FetchKey = Extract<ClientMessage, { case: "fetchKey" }>["value"];

/** What a failure is about; the connection where it is neither. */
interface About {
  readonly queryId?: number;
  readonly keyRequestId?: number;
}

type State =
  | { readonly name: "awaiting-hello" }
  /** Hello is there, its key is being looked up; what comes meanwhile waits. */
  | { readonly name: "admitting"; readonly early: Uint8Array[] }
  | {
      readonly name: "ready";
      readonly adapter: ServedAdapter;
      readonly meter: Meter | undefined;
      readonly ledger: KeyLedger;
      readonly queries: OpenQueries;
      readonly keys: KeySender;
      readonly allowance: Allowance;
      sendingBundle: boolean;
    }
  /** We have closed; what the client still sends is not read. */
  | { readonly name: "closing" }
  | { readonly name: "closed" };

export class ProviderConnection {
  readonly id: number;
  readonly #provider: ConnectionHost;
  readonly #socket: MessageSocket;
  readonly #onClosed: () => void;
  readonly #helloTimer: unknown;
  readonly #share: WaitingShare;
  readonly #outbox: Outbox;
  #state: State = { name: "awaiting-hello" };
  /** From the Welcome on, and until all is over. */
  #queries: OpenQueries | undefined;
  #draining = false;
  #drained: () => void = () => {};
  #leaveKey: () => void = () => {};
  /** Who it is, for the log. */
  #client: ClientName;
  #unwatchKey: () => void = () => {};

  constructor(provider: ConnectionHost, socket: MessageSocket, id: number, onClosed: () => void) {
    this.id = id;
    this.#provider = provider;
    this.#socket = socket;
    this.#onClosed = onClosed;
    this.#client = socket.address === undefined ? {} : { address: socket.address };
    this.#helloTimer = setTimeout(() => {
      if (this.#state.name === "awaiting-hello" || this.#state.name === "admitting") {
        this.#fail(new TacetError("not_ready", "no Hello came in time"));
      }
    }, provider.helloTimeoutMs);
    this.#share = socket.share ?? provider.openShare(socket);
    this.#share.onCut = (reason) => {
      if (!this.#isOver()) this.#fail(reason);
    };
    const { maxBufferedBytes, totals } = provider;
    this.#outbox = new Outbox(socket, {
      ...{ maxBufferedBytes, totals },
      isOver: () => this.#isOver(),
      onFull: () => this.#close(1008, "the client does not read"),
    });
    socket.onMessage = (message) => this.#receive(message);
    socket.onClose = (code) => this.#closed(code);
  }

  /** Queries that wait or are being computed. */
  get inFlight(): number {
    return this.#queries?.count ?? 0;
  }

  /** Answers what is open and closes then; what the client asks from now on it asks another replica again. */
  async drain(): Promise<void> {
    if (this.#isOver()) return;
    this.#draining = true;
    const drained = new Promise<void>((resolve) => (this.#drained = resolve));
    this.#closeIfDrained();
    await drained;
  }

  #closeIfDrained(): void {
    if (this.#draining && this.inFlight === 0) this.shutDown();
  }

  /** Says that the provider stops and closes. */
  shutDown(): void {
    if (this.#isOver()) return;
    this.#outbox.send({ case: "goodbye", value: { reason: "the provider is shutting down" } });
    this.#close(1001, "shutting down");
  }

  /** Closes the connection if its key is not good any more. */
  recheckKey(): void {
    if (this.#state.name !== "ready" || this.#state.meter === undefined) return;
    const { meter } = this.#state;
    void this.#run(async () => {
      await meter.recheck();
      this.#watchKey(meter);
    });
  }

  /** Looks again when the key ends: the connection ends with it, unless the key has been prolonged. */
  #watchKey({ key: { expiresAt } }: Meter): void {
    this.#unwatchKey();
    if (this.#isOver() || expiresAt === null) return;
    this.#unwatchKey = atTime(expiresAt, this.#provider.now, () => this.recheckKey());
  }

  #receive(message: Uint8Array): void {
    if (this.#isOver()) return;
    this.#provider.totals.bytesIn += message.length;
    this.#read(message);
  }

  #read(message: Uint8Array): void {
    if (this.#isOver()) return;
    try {
      if (this.#state.name === "admitting") {
        const { early } = this.#state;
        early.push(message.slice()); // a view would keep the whole chunk alive that it came in
        const bytes = costOf(early);
        if (bytes <= MAX_EARLY_BYTES && this.#share.hold(HELD_COST + message.length)) return;
        throw new TacetError("not_ready", "too much came before the Welcome");
      }
      const { maxMessageBytes } = this.#provider.limits;
      const welcomed = this.#state.name === "ready";
      if (this.#state.name === "ready" && this.#state.meter !== undefined) {
        const { meter, allowance } = this.#state;
        meter.check();
        allowance.message(meter.key.vectorsPerSecond);
      }
      this.#handle(decodeClientFrame(message, welcomed ? maxMessageBytes : MAX_HELLO_BYTES));
    } catch (error) {
      this.#fail(error);
    }
  }

  #handle(message: ClientMessage): void {
    switch (message.case) {
      case "hello":
        this.#hello(message.value);
        break;
      case "fetchBundle":
        void this.#run(() => this.#sendBundle());
        break;
      case "query":
        this.#query(message.value);
        break;
      case "fetchKey":
        this.#fetchKey(message.value);
        break;
      case "goodbye":
        this.#close(1000, "goodbye");
        break;
      default:
        assertNever(message);
    }
  }

  #hello(hello: Hello): void {
    if (this.#state.name !== "awaiting-hello") throw new TacetError("not_ready", "Hello was said before");
    checkVersion(hello);
    this.#share.greet();
    const early: Uint8Array[] = [];
    this.#state = { name: "admitting", early };
    void this.#run(async () => {
      const welcome = await this.#admit(hello);
      if (this.#isOver()) return;
      this.#share.release(costOf(early));
      this.#welcome(welcome);
      for (const message of early) this.#read(message);
    });
  }

  async #admit(hello: Hello): Promise<WelcomeFacts> {
    const admission = await this.#provider.admit(hello.adapter, hello.token, ({ id, account }) => {
      this.#client = { ...this.#client, keyId: id, account };
    });
    return await welcomeFacts(hello, admission);
  }

  #welcome(facts: WelcomeFacts): void {
    const { admission } = facts;
    const { adapter, meter, ledger, keyId } = admission;
    const allowance = this.#provider.allowances.enter(keyId);
    this.#leaveKey = () => allowance.leave();
    this.#share.welcome(keyId);
    clearTimeout(this.#helloTimer);
    const party = keyId ?? this;
    this.#queries = new OpenQueries(this.#provider, adapter, ledger, {
      ...{ id: this.id, owner: this, party, share: this.#share },
      isOver: () => this.#isOver(),
      send: (answer) => this.#outbox.sendAnswer(answer),
    });
    const keys = this.#keySender(admission, allowance, party);
    const queries = this.#queries;
    this.#state = { name: "ready", adapter, meter, ledger, queries, keys, allowance, sendingBundle: false };
    if (meter !== undefined) {
      meter.onRepeated = (vectors) => allowance.repeated(vectors);
      this.#watchKey(meter);
    }
    this.#provider.emit({ type: "welcomed", connection: this.id, adapter: adapter.name, ...this.#client });
    this.#outbox.send(welcomeMessage(facts, this.#provider.limits));
  }

  #keySender({ adapter, ledger }: Admission, allowance: Allowance, party: object | string): KeySender {
    return new KeySender(this.#provider.keys, adapter, ledger, {
      owner: this,
      party,
      share: this.#share,
      repeated: () => allowance.bundle(),
      untilTaken: () => this.#outbox.untilTaken(),
      isOver: () => this.#isOver(),
      send: (frame) => this.#outbox.send(frame),
      sendPart: (part) => this.#outbox.sendKeyPart(part),
    });
  }

  #fetchKey(request: FetchKey): void {
    if (this.#state.name !== "ready") throw new TacetError("not_ready", "a key was asked for before Hello");
    // Another replica makes the same key, or the client's next one.
    if (this.#draining) return;
    const { adapter, keys } = this.#state;
    const sending = keys.fetch(request);
    void this.#run(
      async () => {
        const sent = await sending;
        if (sent === undefined) return;
        const { totals } = this.#provider;
        totals.keys++;
        totals.keyMs += sent.ms;
        this.#provider.emit({ type: "key", connection: this.id, adapter: adapter.name, ...sent });
      },
      { keyRequestId: request.id },
    );
  }

  /** Runs a step. If it fails, that is a failure of what it is about. */
  async #run(step: () => Promise<void>, about: About = {}): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#fail(error, about);
      this.#closeIfDrained();
    }
  }

  async #sendBundle(): Promise<void> {
    const state = this.#state;
    if (state.name !== "ready" || state.sendingBundle) {
      throw new TacetError("not_ready", "the bundle can't be asked for now");
    }
    state.allowance.bundle();
    state.sendingBundle = true;
    await this.#outbox.sendBundle(state.adapter.bundle);
    state.sendingBundle = false;
  }

  #query(query: Query): void {
    if (this.#state.name !== "ready") throw new TacetError("not_ready", "a query came before Hello");
    // An id of 0 can't be told from a failure of the connection.
    if (query.id === 0) throw new TacetError("bad_frame", "a query has the id 0");
    // Whoever has not heard of it when we close asks another replica; nothing is charged here any more.
    if (this.#draining) return;
    const about = { queryId: query.id };
    try {
      const answered = this.#state.queries.answer(query);
      if (answered instanceof Promise) {
        void this.#run(async () => {
          await answered;
          this.#closeIfDrained();
        }, about);
      }
    } catch (error) {
      this.#fail(error, about);
    }
  }

  /** Reports a failure: of a query or of a request for a key, which leaves the connection open, or of the connection. */
  #fail(error: unknown, { queryId = 0, keyRequestId = 0 }: About = {}): void {
    this.#provider.totals.failures++;
    if (!(error instanceof TacetError)) {
      this.#provider.emit({
        type: "fault",
        connection: this.id,
        name: error instanceof Error ? error.name : "unknown",
      });
    }
    const failure =
      error instanceof TacetError && error.kind.wire !== 0
        ? error
        : new TacetError("internal", "the provider failed to answer");
    const { code, message, hint = "", kind } = failure;
    this.#outbox.send({ case: "failure", value: { code: kind.wire, message, hint, queryId, keyRequestId } });
    if (queryId !== 0 || keyRequestId !== 0) {
      const about = queryId !== 0 ? { query: queryId } : { keyRequest: keyRequestId };
      this.#provider.emit({ type: "failed", connection: this.id, ...about, code, ...this.#client });
      if (this.#state.name !== "ready" || OURS.has(code) || this.#state.allowance.refused()) return;
      this.#fail(refusedTooOften());
      return;
    }
    this.#provider.emit({ type: "refused", connection: this.id, code, ...this.#client });
    this.#close(kind.close ?? 1008, code);
  }

  #close(code: number, reason: string): void {
    clearTimeout(this.#helloTimer);
    this.#unwatchKey();
    this.#stopKeys();
    this.#state = { name: "closing" };
    this.#socket.close(code, reason);
    this.#drained();
  }

  /** Keys that are on their way end here. */
  #stopKeys(): void {
    if (this.#state.name !== "ready") return;
    const { keys, meter, ledger } = this.#state;
    keys.close();
    if (meter === undefined) this.#provider.keys.rates.forget(ledger.account);
  }

  #isOver(): boolean {
    return this.#state.name === "closing" || this.#state.name === "closed";
  }

  #closed(code: number): void {
    if (this.#state.name === "closed") return;
    clearTimeout(this.#helloTimer);
    this.#unwatchKey();
    this.#stopKeys();
    this.#state = { name: "closed" };
    this.#drained();
    this.#provider.replies.drop(this);
    this.#leaveKey();
    this.#share.close();
    this.#onClosed();
    this.#provider.emit({ type: "closed", connection: this.id, code, vectors: this.#queries?.vectors ?? 0 });
  }
}

/** Memory that messages take while they wait. */
function costOf(messages: readonly Uint8Array[]): number {
  return messages.reduce((sum, { length }) => sum + HELD_COST + length, 0);
}
