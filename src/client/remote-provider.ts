/**
 * A provider that may go away and come back: connects, fetches the bundle once, and resends the queries that were
 * open when a connection was lost. A resent query is the same bytes (docs/security.md, rule 7), and any replica
 * answers it alike, so nothing is lost but time. After `reconnectMs` without a provider the queries fail.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, equalBytes, fromHex, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { Platform } from "../base/platform.ts";
import { type Bundle, decodeBundle } from "../bundle/bundle.ts";
import { isSignedBy, isSignedByKey } from "../bundle/signature.ts";
import { FRAME_OVERHEAD_BYTES, type Limits } from "../wire/limits.ts";
import { type Budget, BudgetWatch } from "./budget.ts";
import { checkProviderOptions, type RemoteProviderOptions } from "./provider-options.ts";
import { Connection, type QueryAnswer, type Traffic, type WelcomeInfo } from "./connection.ts";

export type { RemoteProviderOptions };

const HANDSHAKE_MS = 10_000;
const SILENCE_MS = 60_000;
const RECONNECT_MS = 10_000;
/** Connections that one query is sent over; a provider that keeps silent gets fewer chances than one that leaves. */
const MOST_ATTEMPTS = { connection_lost: 6, timed_out: 2 };
const FIRST_BACKOFF_MS = 50;
const LARGEST_BACKOFF_MS = 2_000;

export class RemoteProvider {
  readonly traffic: Traffic = { bytesUp: 0, bytesDown: 0, roundTrips: 0, vectors: 0 };
  readonly #platform: Platform;
  readonly #options: RemoteProviderOptions;
  readonly #urls: readonly string[];
  #nextUrl = 0;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;
  #bundleDigest = new Uint8Array(0);
  #closed = false;
  readonly #budget = new BudgetWatch();

  private constructor(platform: Platform, options: RemoteProviderOptions) {
    this.#platform = platform;
    this.#options = checkProviderOptions(options);
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
      if (options.pinnedDigest !== undefined) provider.#bundleDigest = fromHex(options.pinnedDigest).slice();
      const connection = await provider.#open();
      provider.#connection = connection;
      const bundle = await provider.#getBundle(connection);
      provider.#bundleDigest = bundle.digest.slice();
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

  /** As the provider said last: another replica may have others. */
  readonly limits: Limits = limitsOf(() => this.welcome);

  /** What the account may still ask, as the provider last said; undefined: no budget. */
  get budget(): Budget | undefined {
    return this.#budget.now;
  }

  /**
   * Answers one query, over a new connection if the old one is lost; a provider that can't reach its store is asked
   * again.
   *
   * @throws TacetError connection_lost, unavailable after reconnectMs; bundle_changed; what the provider refuses with
   */
  async query(group: number, vectors: number, ciphertext: Uint8Array): Promise<QueryAnswer> {
    const deadline = performance.now() + (this.#options.reconnectMs ?? RECONNECT_MS);
    let backoff = FIRST_BACKOFF_MS;
    for (let attempt = 1; ; attempt++) {
      const current = this.#connection;
      const connection = current && !current.isLost ? current : await this.#reconnect();
      const most = mostVectors(connection.welcome.limits, ciphertext.length / vectors);
      if (vectors > most) return await this.#queryInParts(group, vectors, ciphertext, most);
      try {
        const answer = await connection.query(group, vectors, ciphertext);
        this.#budget.answered(group, answer.vectorsLeft);
        return answer;
      } catch (error) {
        if (isUnavailable(error) && !connection.isLost && performance.now() + backoff < deadline) {
          await new Promise<void>((resolve) => setTimeout(resolve, backoff));
          backoff = Math.min(2 * backoff, LARGEST_BACKOFF_MS);
          attempt--;
          continue;
        }
        if (!connection.isLost || !isLoss(error) || this.#closed) throw error;
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
    most: number,
  ): Promise<QueryAnswer> {
    const queryBytes = ciphertext.length / vectors;
    const parts: Promise<QueryAnswer>[] = [];
    for (let first = 0; first < vectors; first += most) {
      const count = Math.min(most, vectors - first);
      const part = ciphertext.subarray(first * queryBytes, (first + count) * queryBytes);
      parts.push(this.query(group, count, part));
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
  #reconnect(): Promise<Connection> {
    if (this.#connecting === undefined) {
      this.#nextUrl++; // of several replicas not the one that was lost
      this.#connecting = this.#retryOpen().finally(() => {
        this.#connecting = undefined;
      });
    }
    return this.#connecting;
  }

  async #retryOpen(): Promise<Connection> {
    const deadline = performance.now() + (this.#options.reconnectMs ?? RECONNECT_MS);
    for (let backoff = FIRST_BACKOFF_MS; ; backoff = Math.min(2 * backoff, LARGEST_BACKOFF_MS)) {
      if (this.#closed) throw new TacetError("connection_lost", "the connection was closed");
      this.#options.signal?.throwIfAborted();
      try {
        this.#connection = await this.#open();
        if (this.#closed) this.#connection.close();
        return this.#connection;
      } catch (error) {
        if (!isLoss(error) || performance.now() + backoff > deadline) throw asLost(error);
      }
      await new Promise<void>((resolve) => setTimeout(resolve, backoff));
    }
  }

  /** Opens a connection to the next URL that answers. */
  async #open(): Promise<Connection> {
    const { adapter = "", baseFingerprint, token = "", handshakeMs = HANDSHAKE_MS } = this.#options;
    const { signal, pollMicros } = this.#options;
    const timeouts = { handshakeMs, silenceMs: this.#options.silenceMs ?? SILENCE_MS };
    const hello = { adapter, baseFingerprint, token, bundleDigest: this.#bundleDigest };
    for (let tried = 0; ; tried++) {
      const url = this.#urls[this.#nextUrl % this.#urls.length];
      try {
        const options = {
          timeoutMs: handshakeMs,
          ...(signal ? { signal } : {}),
          ...(pollMicros === undefined ? {} : { pollMicros }),
        };
        const socket = await this.#platform.connect(url, options);
        const connection = await Connection.open(socket, hello, this.traffic, timeouts);
        this.#checkDigest(connection);
        this.#checkSignature(connection);
        this.#budget.welcomed(connection.welcome.budget);
        return connection;
      } catch (error) {
        this.#nextUrl++;
        if (token === "" && isRefusedToken(error)) throw noToken(error);
        if (isBundleChange(error)) throw this.#otherBundle(error.message);
        if (!isLoss(error) || tried + 1 >= this.#urls.length) throw error;
      }
    }
  }

  /** A provider that does not keep to the digest in our Hello is not the one that was pinned, or was lost. */
  #checkDigest(connection: Connection): void {
    const wanted = this.#bundleDigest;
    const { bundleDigest } = connection.welcome;
    if (wanted.length === 0 || equalBytes(wanted, bundleDigest)) return;
    connection.close();
    throw this.#otherBundle(`the provider serves the bundle ${toHex(bundleDigest)}`);
  }

  /** The advice is ours, whatever the provider says: what a pin is for is not to take its word. */
  #otherBundle(said: string): TacetError {
    const wanted = toHex(this.#bundleDigest);
    const message = said.includes(wanted) ? said : `${said}, not ${wanted}, which was asked for`;
    const hint =
      this.#options.pinnedDigest === undefined
        ? "the adapter was replaced while this client was running: start it again"
        : "keep the digest unless the provider has published the other one in a place that you trust";
    return new TacetError("bundle_changed", message, { hint });
  }

  /** A signature must be one; with a pinned key, that key's. */
  #checkSignature(connection: Connection): void {
    const { signature, bundleDigest } = connection.welcome;
    const { providerKey } = this.#options;
    if (providerKey === undefined) {
      if (signature === undefined || isSignedBy(signature, bundleDigest)) return;
    } else if (isSignedByKey(signature, bundleDigest, fromHex(providerKey))) return;
    connection.close();
    const what = signature === undefined ? "is not signed" : "has a signature that does not hold";
    throw new TacetError("bad_bundle", `the provider's bundle ${what}`, {
      hint: "compare the key with the one that the provider has made public (--provider-key)",
    });
  }

  async #getBundle(connection: Connection): Promise<Bundle> {
    const { bundleDigest } = connection.welcome;
    const { cache, onWarning = () => {}, onBundleProgress = () => {} } = this.#options;
    const name = toHex(bundleDigest);
    const cached = await cache?.get(name).catch(() => undefined);
    if (cached !== undefined && equalBytes(sha256(cached), bundleDigest)) return await decodeBundle(cached);

    const bytes = await connection.fetchBundle(onBundleProgress);
    if (!equalBytes(sha256(bytes), bundleDigest)) {
      throw new TacetError("bad_bundle", "the bundle that came is not the one that the provider announced");
    }
    const bundle = await decodeBundle(bytes);
    try {
      await cache?.put(name, bytes);
    } catch (error) {
      onWarning(`the bundle could not be kept for next time: ${(error as Error).message}`);
    }
    return bundle;
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

const isUnavailable = (error: unknown): boolean =>
  error instanceof TacetError && error.code === "unavailable";

function asLost(error: unknown): unknown {
  if (!(error instanceof TacetError) || error.code !== "connection_failed") return error;
  return new TacetError("connection_lost", `the connection to the provider was lost, and ${error.message}`, {
    hint: "ask again when the provider is back: the next query connects anew",
    cause: error,
  });
}
