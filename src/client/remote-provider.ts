/**
 * A provider that may go away and come back: connects, fetches the bundle once, and resends the queries that were
 * open when a connection was lost. A resent query is the same bytes (HINTED-PLL-REVIEW.md D7), and any replica
 * answers it alike, so nothing is lost but time. After `reconnectMs` without a provider the queries fail.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { equalBytes, fromHex, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import type { Platform } from "../base/platform.ts";
import { type Bundle, decodeBundle } from "../bundle/bundle.ts";
import { isSignedBy, isSignedByKey } from "../bundle/signature.ts";
import { type Budget, BudgetWatch } from "./budget.ts";
import type { BundleCache } from "./bundle-cache.ts";
import { Connection, type QueryAnswer, type Traffic, type WelcomeInfo } from "./connection.ts";

export interface RemoteProviderOptions {
  /** ws:// or wss:// URL; of several, the next one is tried when one fails (replicas of one provider). */
  readonly url: string | readonly string[];
  /** Name of the adapter; by default the provider's only or first one. */
  readonly adapter?: string;
  readonly baseFingerprint: Uint8Array;
  readonly token?: string;
  /** SHA-256 in hex that the bundle must have: a digest that the provider has made public. */
  readonly pinnedDigest?: string;
  /** Ed25519 public key in hex that must have signed the bundle: the provider's, which it has made public. */
  readonly providerKey?: string;
  readonly cache?: BundleCache;
  /** Milliseconds for one handshake. Default 10,000. */
  readonly handshakeMs?: number;
  /** Milliseconds of silence after which a provider that owes an answer counts as lost. Default 60,000. */
  readonly silenceMs?: number;
  /** Milliseconds that a lost provider is waited for. Default 10,000; 0: not at all. */
  readonly reconnectMs?: number;
  readonly signal?: AbortSignal;
  readonly onBundleProgress?: (fraction: number) => void;
  /** Something that went wrong without harm: one line. */
  readonly onWarning?: (message: string) => void;
}

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
    this.#options = options;
    this.#urls = typeof options.url === "string" ? [options.url] : options.url;
    if (this.#urls.length === 0) throw new RangeError("a provider needs a URL");
  }

  /**
   * Connects and gets the bundle, from the cache where it is there.
   *
   * @throws TacetError connection_failed, timed_out, bad_bundle, bundle_changed; what the provider refuses with
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
    const { adapter = "", baseFingerprint, token = "", signal, handshakeMs = HANDSHAKE_MS } = this.#options;
    const timeouts = { handshakeMs, silenceMs: this.#options.silenceMs ?? SILENCE_MS };
    const hello = { adapter, baseFingerprint, token, bundleDigest: this.#bundleDigest };
    for (let tried = 0; ; tried++) {
      const url = this.#urls[this.#nextUrl % this.#urls.length];
      try {
        const options = { timeoutMs: handshakeMs, ...(signal ? { signal } : {}) };
        const socket = await this.#platform.connect(url, options);
        const connection = await Connection.open(socket, hello, this.traffic, timeouts);
        this.#checkDigest(connection);
        this.#checkSignature(connection);
        this.#budget.welcomed(connection.welcome.budget);
        return connection;
      } catch (error) {
        this.#nextUrl++;
        if (!isLoss(error) || tried + 1 >= this.#urls.length) throw error;
      }
    }
  }

  /** A provider that does not keep to the digest in our Hello is not the one that was pinned, or was lost. */
  #checkDigest(connection: Connection): void {
    const wanted = this.#bundleDigest;
    if (wanted.length === 0 || equalBytes(wanted, connection.welcome.bundleDigest)) return;
    connection.close();
    throw new TacetError(
      "bundle_changed",
      "the provider serves another bundle than the one that was asked for",
      {
        hint: "compare the digest with the one that the provider has made public",
      },
    );
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

/** Whether a failure is the network's, so that trying again may help. */
function isLoss(error: unknown): error is TacetError {
  return (
    error instanceof TacetError &&
    ["connection_failed", "connection_lost", "timed_out", "shutting_down", "unavailable"].includes(error.code)
  );
}

const isUnavailable = (error: unknown): boolean =>
  error instanceof TacetError && error.code === "unavailable";

function asLost(error: unknown): unknown {
  if (!(error instanceof TacetError) || error.code !== "connection_failed") return error;
  return new TacetError("connection_lost", `the connection to the provider was lost, and ${error.message}`, {
    hint: "ask again when the provider is back: the next query connects anew",
    cause: error,
  });
}
