/**
 * A connection to whichever replica of a provider answers: opened again when it is lost, and asked again where the
 * provider says that it can't answer for now. After `reconnectMs` without a provider it gives up; the next call tries
 * once more.
 */
import { type ErrorCode, TacetError } from "../../base/errors.ts";
import type { Platform } from "../../base/platform.ts";
import type { RemoteProviderOptions } from "../provider-options.ts";
import { ClientConnection } from "./client-connection.ts";
import type { Traffic } from "./traffic.ts";
import type { HelloInput, WelcomeInfo } from "./welcome.ts";

const HANDSHAKE_MS = 10_000;
const SILENCE_MS = 60_000;
const RECONNECT_MS = 10_000;
/** Connections that one question is asked over; a provider that keeps silent gets fewer chances than one that leaves. */
const MOST_ATTEMPTS = { connection_lost: 6, timed_out: 2 };
const FIRST_BACKOFF_MS = 50;
const LARGEST_BACKOFF_MS = 2_000;

/** What each new connection is opened with, and who hears of it. */
export interface Handshake {
  /** What Hello says now. */
  hello(): HelloInput;
  /** A provider has answered. @throws to refuse it */
  check(welcome: WelcomeInfo): void;
  /** The connection is in use from here on. `isAgain`: it replaces one that was lost. */
  opened(welcome: WelcomeInfo, isAgain: boolean): void;
  /** A handshake failed: the error that is thrown, this one by default. */
  explain(error: unknown): unknown;
}

type Options = Pick<
  RemoteProviderOptions,
  "url" | "handshakeMs" | "silenceMs" | "reconnectMs" | "pollMicros" | "signal"
>;

export class LastingConnection {
  readonly #platform: Platform;
  readonly #options: Options;
  readonly #urls: readonly string[];
  readonly #traffic: Traffic;
  readonly #handshake: Handshake;
  #nextUrl = 0;
  #current: ClientConnection | undefined;
  #connecting: Promise<ClientConnection> | undefined;
  #closed = false;

  constructor(platform: Platform, options: Options, traffic: Traffic, handshake: Handshake) {
    this.#platform = platform;
    this.#options = options;
    this.#urls = typeof options.url === "string" ? [options.url] : options.url;
    if (this.#urls.length === 0) throw new RangeError("a provider needs a URL");
    this.#traffic = traffic;
    this.#handshake = handshake;
  }

  /**
   * Connects for the first time: each URL once.
   *
   * @throws TacetError connection_failed, timed_out; what the provider refuses with
   */
  async open(): Promise<ClientConnection> {
    this.#current = await this.#open();
    this.#handshake.opened(this.#current.welcome, false);
    return this.#current;
  }

  /** The one that was opened last; it may be lost. */
  get current(): ClientConnection | undefined {
    return this.#current;
  }

  /**
   * Asks over one connection after the other, and again where the provider says that it can't answer for now.
   *
   * @param patience for what else it may be asked again, and how long, in milliseconds
   * @throws TacetError connection_lost, unavailable after reconnectMs; unknown_key with the loss as its cause where a
   *   connection was lost before; what else `ask` throws
   */
  async ask<T>(
    ask: (connection: ClientConnection) => Promise<T>,
    patience: Partial<Record<ErrorCode, number>> = {},
  ): Promise<T> {
    const start = performance.now();
    const waits: Partial<Record<ErrorCode, number>> = { unavailable: this.#reconnectMs, ...patience };
    let backoff = FIRST_BACKOFF_MS;
    let loss: TacetError | undefined;
    for (let attempt = 1; ; attempt++) {
      const current = this.#current;
      const connection = current && !current.isLost ? current : await this.#reconnect();
      try {
        return await ask(connection);
      } catch (error) {
        const wait = error instanceof TacetError ? (waits[error.code] ?? 0) : 0;
        if (!connection.isLost && performance.now() + backoff < start + wait) {
          await sleep(backoff);
          backoff = Math.min(2 * backoff, LARGEST_BACKOFF_MS);
          attempt--;
          continue;
        }
        if (loss && error instanceof TacetError && error.code === "unknown_key") {
          throw new TacetError("unknown_key", error.message, { cause: loss });
        }
        if (!connection.isLost || !isLoss(error) || this.#closed) throw error;
        loss = error;
        const most = error.code === "timed_out" ? MOST_ATTEMPTS.timed_out : MOST_ATTEMPTS.connection_lost;
        if (attempt >= most) throw error;
      }
    }
  }

  close(): void {
    this.#closed = true;
    this.#current?.close();
  }

  get #reconnectMs(): number {
    return this.#options.reconnectMs ?? RECONNECT_MS;
  }

  /** One reconnection serves all questions that wait for it. */
  #reconnect(): Promise<ClientConnection> {
    if (this.#connecting === undefined) {
      this.#nextUrl++; // of several replicas not the one that was lost
      this.#connecting = this.#retryOpen().finally(() => {
        this.#connecting = undefined;
      });
    }
    return this.#connecting;
  }

  async #retryOpen(): Promise<ClientConnection> {
    const deadline = performance.now() + this.#reconnectMs;
    for (let backoff = FIRST_BACKOFF_MS; ; backoff = Math.min(2 * backoff, LARGEST_BACKOFF_MS)) {
      if (this.#closed) throw new TacetError("connection_lost", "the connection was closed");
      this.#options.signal?.throwIfAborted();
      try {
        this.#current = await this.#open();
        this.#handshake.opened(this.#current.welcome, true);
        if (this.#closed) this.#current.close();
        return this.#current;
      } catch (error) {
        if (!isLoss(error) || performance.now() + backoff > deadline) throw asLost(error);
      }
      await sleep(backoff);
    }
  }

  /** Opens a connection to the next URL that answers. */
  async #open(): Promise<ClientConnection> {
    const { signal, pollMicros, handshakeMs = HANDSHAKE_MS, silenceMs = SILENCE_MS } = this.#options;
    const hello = this.#handshake.hello();
    for (let tried = 0; ; tried++) {
      const url = this.#urls[this.#nextUrl % this.#urls.length];
      try {
        const socket = await this.#platform.connect(url, { timeoutMs: handshakeMs, signal, pollMicros });
        const timeouts = { handshakeMs, silenceMs };
        const connection = await ClientConnection.open(socket, hello, this.#traffic, timeouts);
        try {
          this.#handshake.check(connection.welcome);
        } catch (error) {
          connection.close();
          throw error;
        }
        return connection;
      } catch (error) {
        this.#nextUrl++;
        const explained = this.#handshake.explain(error);
        if (explained !== error || !isLoss(error) || tried + 1 >= this.#urls.length) throw explained;
      }
    }
  }
}

/** Whether a failure is the network's, so that trying again may help. */
function isLoss(error: unknown): error is TacetError {
  return (
    error instanceof TacetError &&
    ["connection_failed", "connection_lost", "timed_out", "shutting_down", "unavailable"].includes(error.code)
  );
}

function asLost(error: unknown): unknown {
  if (!(error instanceof TacetError) || error.code !== "connection_failed") return error;
  return new TacetError("connection_lost", `the connection to the provider was lost, and ${error.message}`, {
    hint: "ask again when the provider is back: the next query connects again",
    cause: error,
  });
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
