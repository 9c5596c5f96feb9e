/**
 * A provider that may go away and come back: connects, fetches the bundle once, fetches keys, and resends what was open
 * when a connection was lost. A resent query is the same bytes (docs/security.md, rule 7), and any replica
 * answers it alike, so nothing is lost but time. After `reconnectMs` without a provider the queries fail.
 */
import { concatBytes, toHex } from "../base/bytes.ts";
import { type ErrorCode, TacetError } from "../base/errors.ts";
import type { Platform } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { FRAME_OVERHEAD_BYTES, type Limits } from "../wire/limits.ts";
import { MOST_ELEMENTS } from "../wire/strict-reader.ts";
import { type BudgetLeft, BudgetWatch } from "./budget-left.ts";
import { ClientConnection, type QueryReply, type Traffic, type WelcomeInfo } from "./client-connection.ts";
import { ExpectedBundle } from "./expected-bundle.ts";
import { KeptKeys } from "./key-cache.ts";
import { type KeyFormat, keyFormatOf } from "./key-format.ts";
import type { FetchedKey, KeyHolder, KeySource } from "./keys.ts";
import { checkProviderOptions, type RemoteProviderOptions } from "./provider-options.ts";

export type { RemoteProviderOptions };

const HANDSHAKE_MS = 10_000;
const SILENCE_MS = 60_000;
const RECONNECT_MS = 10_000;
/** Connections that one query is sent over; a provider that keeps silent gets fewer chances than one that leaves. */
const MOST_ATTEMPTS = { connection_lost: 6, timed_out: 2 };
const FIRST_BACKOFF_MS = 50;
const LARGEST_BACKOFF_MS = 2_000;
/** A provider makes an account's next key some seconds after the last one at the latest: so long it is asked again. */
const KEY_PATIENCE_MS = 30_000;

export class RemoteProvider implements KeySource {
  readonly traffic: Traffic = {
    bytesUp: 0,
    bytesDown: 0,
    roundTrips: 0,
    vectors: 0,
    keys: 0,
    keyBytes: 0,
  };
  readonly #platform: Platform;
  readonly #options: RemoteProviderOptions;
  readonly #urls: readonly string[];
  #nextUrl = 0;
  #connection: ClientConnection | undefined;
  #connecting: Promise<ClientConnection> | undefined;
  readonly #bundle: ExpectedBundle;
  #closed = false;
  readonly #budget = new BudgetWatch();
  #keyFormat: KeyFormat | undefined;
  #keptKeys: KeptKeys | undefined;
  #keyHolder: KeyHolder | undefined;

  private constructor(platform: Platform, options: RemoteProviderOptions) {
    this.#platform = platform;
    this.#options = checkProviderOptions(options);
    this.#bundle = new ExpectedBundle(this.#options);
    this.#urls = typeof options.url === "string" ? [options.url] : options.url;
    if (this.#urls.length === 0) throw new RangeError("a provider needs a URL");
  }

  /**
   * Connects and gets the bundle, from the cache where it is there.
   *
   * @throws TacetError connection_failed, timed_out, bad_bundle, bundle_changed; bad_argument for an option that is
   *   malformed; what the provider refuses with
   */
  static async connect(
    platform: Platform,
    options: RemoteProviderOptions,
  ): Promise<{ provider: RemoteProvider; bundle: Bundle }> {
    const provider = new RemoteProvider(platform, options);
    try {
      await provider.#openKeyCache();
      const connection = await provider.#open();
      provider.#connection = connection;
      const bundle = await provider.#bundle.get(connection);
      provider.#keyFormat = keyFormatOf(bundle, platform.sha256);
      return { provider, bundle };
    } catch (error) {
      provider.close();
      throw error;
    }
  }

  get welcome(): WelcomeInfo {
    const connection = this.#connection;
    if (connection === undefined) throw new TypeError("not connected");
    return connection.welcome;
  }

  /** Milliseconds from Hello to Welcome, of the last connection. */
  get welcomeMs(): number {
    return this.#connection?.welcomeMs ?? 0;
  }

  /** As the provider said last: another replica may have others. */
  readonly limits: Limits = limitsOf(() => this.welcome);

  /** What the account may still ask, as the provider last said; undefined: no budget. */
  get budget(): BudgetLeft | undefined {
    return this.#budget.now;
  }

  /**
   * Answers one query, over a new connection if the old one is lost; a provider that can't reach its store is asked
   * again.
   *
   * @throws TacetError connection_lost, unavailable after reconnectMs; bundle_changed; unknown_key and worn_key if it
   *   wants another key, with the loss as its cause where the key was lost with a connection; what else the provider
   *   refuses with
   */
  query(group: number, vectors: number, ciphertext: Uint8Array, keyId: Uint8Array): Promise<QueryReply> {
    return this.#persist(async (connection) => {
      const most = mostVectors(connection.welcome.limits, ciphertext.length / vectors);
      if (vectors > most) return await this.#queryInParts(group, vectors, ciphertext, keyId, most);
      const answer = await connection.query(group, vectors, ciphertext, keyId);
      this.#budget.answered(group, answer.vectorsLeft);
      return answer;
    });
  }

  /** Calls `send`; queries that leave at once travel together. */
  together(send: () => void): void {
    if (this.#connection) this.#connection.together(send);
    else send();
  }

  /**
   * Gets a key, over a new connection if the old one is lost; a provider that makes no more keys for now is asked again.
   *
   * @param again a key that was made before; by default a new one
   * @throws TacetError bad_key; as {@link query}
   */
  async fetchKey(again?: Uint8Array): Promise<FetchedKey> {
    const format = this.#keyFormat;
    if (format === undefined) throw new TypeError("there is no bundle yet");
    // Made, and lost with the connection: the same one again.
    let keyId = again;
    const onMade = (id: Uint8Array) => void (keyId = id);
    const key = await this.#persist(
      async (connection) => {
        try {
          return await connection.fetchKey({ format, keyId, onMade });
        } catch (error) {
          if (keyId === undefined || again !== undefined || !hasCode(error, "unknown_key", "worn_key"))
            throw error;
          keyId = undefined; // it is of another time, or was bound to the connection
          return await connection.fetchKey({ format, onMade });
        }
      },
      { too_many_requests: KEY_PATIENCE_MS },
    );
    this.#keptKeys?.keep(toHex(this.#bundle.digest), key);
    return key;
  }

  async *keptKeys(): AsyncGenerator<FetchedKey> {
    if (this.#keyFormat === undefined) throw new TypeError("there is no bundle yet");
    const { keys } = this.welcome;
    yield* this.#keptKeys?.goodOnes(toHex(this.#bundle.digest), this.#keyFormat, keys) ?? [];
  }

  holdKeys(holder: KeyHolder): void {
    this.#keyHolder = holder;
  }

  forgetKey(id: Uint8Array): void {
    this.#keptKeys?.forget(toHex(this.#bundle.digest), id);
  }

  /**
   * Asks over one connection after the other, and again where the provider says that it can't answer for now.
   *
   * @param patience for what else it may be asked again, and how long, in milliseconds
   */
  async #persist<T>(
    ask: (connection: ClientConnection) => Promise<T>,
    patience: Partial<Record<ErrorCode, number>> = {},
  ): Promise<T> {
    const start = performance.now();
    const waits = { unavailable: this.#options.reconnectMs ?? RECONNECT_MS, ...patience };
    let backoff = FIRST_BACKOFF_MS;
    let loss: TacetError | undefined;
    for (let attempt = 1; ; attempt++) {
      const current = this.#connection;
      const connection = current && !current.isLost ? current : await this.#reconnect();
      try {
        return await ask(connection);
      } catch (error) {
        const wait = error instanceof TacetError ? (waits[error.code as keyof typeof waits] ?? 0) : 0;
        if (!connection.isLost && performance.now() + backoff < start + wait) {
          await new Promise<void>((resolve) => setTimeout(resolve, backoff));
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

  /**
   * Asks for vectors that were meant for a replica with larger limits in several queries. Each vector stays the bytes
   * that it was: what was encrypted once is sent again and nothing else.
   */
  async #queryInParts(
    group: number,
    vectors: number,
    ciphertext: Uint8Array,
    keyId: Uint8Array,
    most: number,
  ): Promise<QueryReply> {
    const queryBytes = ciphertext.length / vectors;
    const parts: Promise<QueryReply>[] = [];
    for (let first = 0; first < vectors; first += most) {
      const count = Math.min(most, vectors - first);
      const part = ciphertext.subarray(first * queryBytes, (first + count) * queryBytes);
      parts.push(this.query(group, count, part, keyId));
    }
    const answers = await Promise.all(parts);
    const left = answers.flatMap(({ vectorsLeft }) => (vectorsLeft === undefined ? [] : [vectorsLeft]));
    return {
      words: concatBytes(...answers.map(({ words }) => words)),
      providerMs: answers.reduce((sum, { providerMs }) => sum + providerMs, 0),
      vectorsLeft: left.length === 0 ? undefined : Math.min(...left),
    };
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }

  /** One reconnection serves all queries that wait for it. */
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
    const deadline = performance.now() + (this.#options.reconnectMs ?? RECONNECT_MS);
    for (let backoff = FIRST_BACKOFF_MS; ; backoff = Math.min(2 * backoff, LARGEST_BACKOFF_MS)) {
      if (this.#closed) throw new TacetError("connection_lost", "the connection was closed");
      this.#options.signal?.throwIfAborted();
      try {
        this.#connection = await this.#open();
        this.#keyHolder?.correct(this.#connection.welcome.keys);
        if (this.#closed) this.#connection.close();
        return this.#connection;
      } catch (error) {
        if (!isLoss(error) || performance.now() + backoff > deadline) throw asLost(error);
      }
      await new Promise<void>((resolve) => setTimeout(resolve, backoff));
    }
  }

  /** Opens a connection to the next URL that answers. */
  async #open(): Promise<ClientConnection> {
    const { adapter = "", baseFingerprint, token = "", handshakeMs = HANDSHAKE_MS } = this.#options;
    const { signal, pollMicros } = this.#options;
    const timeouts = { handshakeMs, silenceMs: this.#options.silenceMs ?? SILENCE_MS };
    const keyIds = (this.#keyHolder?.heldIds ?? this.#keptKeys?.ids ?? []).slice(0, MOST_ELEMENTS);
    const hello = { adapter, baseFingerprint, token, bundleDigest: this.#bundle.digest, keyIds };
    for (let tried = 0; ; tried++) {
      const url = this.#urls[this.#nextUrl % this.#urls.length];
      try {
        const options = {
          timeoutMs: handshakeMs,
          signal,
          pollMicros,
        };
        const socket = await this.#platform.connect(url, options);
        const connection = await ClientConnection.open(socket, hello, this.traffic, timeouts);
        try {
          this.#bundle.check(connection.welcome);
        } catch (error) {
          connection.close();
          throw error;
        }
        this.#budget.welcomed(connection.welcome.budget);
        return connection;
      } catch (error) {
        this.#nextUrl++;
        if (token === "" && isRefusedToken(error)) throw noToken(error);
        if (isBundleChange(error)) throw this.#bundle.another(error.message);
        if (!isLoss(error) || tried + 1 >= this.#urls.length) throw error;
      }
    }
  }

  async #openKeyCache(): Promise<void> {
    const { keyCache, token = "", adapter = "", onWarning = () => {} } = this.#options;
    if (keyCache === undefined || token === "") return;
    this.#keptKeys = await KeptKeys.open(keyCache, [adapter, token, ...this.#urls], onWarning);
  }
}

function limitsOf(welcome: () => WelcomeInfo): Limits {
  return {
    get maxMessageBytes() {
      return welcome().limits.maxMessageBytes;
    },
    get maxVectors() {
      return welcome().limits.maxVectors;
    },
    get maxInFlight() {
      return welcome().limits.maxInFlight;
    },
  };
}

/**
 * Vectors that one query may have.
 *
 * @throws TacetError too_large if the provider takes not even one
 */
function mostVectors({ maxMessageBytes, maxVectors }: Limits, queryBytes: number): number {
  const fitting = Math.floor((maxMessageBytes - FRAME_OVERHEAD_BYTES) / queryBytes);
  if (fitting >= 1) return Math.min(maxVectors, fitting);
  const needed = FRAME_OVERHEAD_BYTES + queryBytes;
  throw new TacetError(
    "too_large",
    `a query of one vector needs a message of ${needed} bytes, and the provider takes ${maxMessageBytes}`,
    {
      hint: "the provider's maxMessageBytes does not fit its adapter: tell its operator, or use another replica",
    },
  );
}

/** Whether a failure is the network's, so that trying again may help. */
function isLoss(error: unknown): error is TacetError {
  return (
    error instanceof TacetError &&
    ["connection_failed", "connection_lost", "timed_out", "shutting_down", "unavailable"].includes(error.code)
  );
}

const isRefusedToken = (error: unknown): error is TacetError =>
  error instanceof TacetError && error.code === "unauthorized";

function noToken(cause: TacetError): TacetError {
  return new TacetError("unauthorized", "the provider asks for a key, and none was given", {
    hint: "export TACET_TOKEN=…, or --token-file FILE (library: token), with the key that the provider gave you",
    cause,
  });
}

const isBundleChange = (error: unknown): error is TacetError =>
  error instanceof TacetError && error.code === "bundle_changed";

const hasCode = (error: unknown, ...codes: readonly ErrorCode[]): boolean =>
  error instanceof TacetError && codes.includes(error.code);

function asLost(error: unknown): unknown {
  if (!(error instanceof TacetError) || error.code !== "connection_failed") return error;
  return new TacetError("connection_lost", `the connection to the provider was lost, and ${error.message}`, {
    hint: "ask again when the provider is back: the next query connects anew",
    cause: error,
  });
}
