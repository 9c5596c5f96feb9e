/**
 * A provider that may go away and come back: its bundle is fetched once, keys when they are wanted, and what was open
 * when a connection was lost is sent again. A resent query is the same bytes (docs/security.md, rule 7), and any replica
 * answers it alike, so nothing is lost but time.
 */
import { concatBytes, toHex } from "../base/bytes.ts";
import { type ErrorCode, TacetError } from "../base/errors.ts";
import type { Platform } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { FRAME_OVERHEAD_BYTES, type Limits } from "../wire/limits.ts";
import { MOST_ELEMENTS } from "../wire/strict-reader.ts";
import { type BudgetLeft, BudgetWatch } from "./budget-left.ts";
import type { ClientConnection, QueryReply } from "./connection/client-connection.ts";
import { type Handshake, LastingConnection } from "./connection/lasting-connection.ts";
import { noTraffic, type Traffic } from "./connection/traffic.ts";
import type { HelloInput, WelcomeInfo } from "./connection/welcome.ts";
import { ExpectedBundle } from "./expected-bundle.ts";
import { KeptKeys } from "./key-cache.ts";
import { type KeyFormat, keyFormatOf } from "./key-format.ts";
import type { FetchedKey, KeyHolder, KeySource } from "./keys.ts";
import { checkProviderOptions, type RemoteProviderOptions } from "./provider-options.ts";

/** A provider makes an account's next key some seconds after the last one at the latest: so long it is asked again. */
const KEY_PATIENCE_MS = 30_000;

export class RemoteProvider implements KeySource {
  readonly traffic: Traffic = noTraffic();
  readonly #options: RemoteProviderOptions;
  readonly #connection: LastingConnection;
  readonly #bundle: ExpectedBundle;
  readonly #budget = new BudgetWatch();
  #keyFormat: KeyFormat | undefined;
  #keptKeys: KeptKeys | undefined;
  #keyHolder: KeyHolder | undefined;

  private constructor(platform: Platform, options: RemoteProviderOptions) {
    this.#options = checkProviderOptions(options);
    this.#bundle = new ExpectedBundle(this.#options);
    const handshake: Handshake = {
      hello: () => this.#hello(),
      check: (welcome) => this.#bundle.check(welcome),
      opened: (welcome, isAgain) => {
        this.#budget.welcomed(welcome.budget);
        if (isAgain) this.#keyHolder?.correct(welcome.keys);
      },
      explain: (error) => this.#explain(error),
    };
    this.#connection = new LastingConnection(platform, this.#options, this.traffic, handshake);
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
      const bundle = await provider.#bundle.get(await provider.#connection.open());
      provider.#keyFormat = keyFormatOf(bundle, platform.sha256);
      return { provider, bundle };
    } catch (error) {
      provider.close();
      throw error;
    }
  }

  get welcome(): WelcomeInfo {
    const connection = this.#connection.current;
    if (connection === undefined) throw new TypeError("not connected");
    return connection.welcome;
  }

  /** Milliseconds from Hello to Welcome, of the last connection. */
  get welcomeMs(): number {
    return this.#connection.current?.welcomeMs ?? 0;
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
    return this.#connection.ask(async (connection) => {
      const most = mostVectors(connection.welcome.limits, ciphertext.length / vectors);
      const answer =
        vectors > most
          ? await queryInParts(connection, group, vectors, ciphertext, keyId, most)
          : await connection.query(group, vectors, ciphertext, keyId);
      this.#budget.answered(group, answer.vectorsLeft);
      return answer;
    });
  }

  /** Calls `send`; queries that leave at once travel together. */
  together(send: () => void): void {
    const { current } = this.#connection;
    if (current) current.together(send);
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
    const key = await this.#connection.ask(
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

  close(): void {
    this.#connection.close();
  }

  #hello(): HelloInput {
    const { adapter = "", baseFingerprint, token = "" } = this.#options;
    const keyIds = (this.#keyHolder?.heldIds ?? this.#keptKeys?.ids ?? []).slice(0, MOST_ELEMENTS);
    return { adapter, baseFingerprint, token, bundleDigest: this.#bundle.digest, keyIds };
  }

  #explain(error: unknown): unknown {
    const { token = "" } = this.#options;
    if (token === "" && hasCode(error, "unauthorized")) return noToken(error);
    return hasCode(error, "bundle_changed") ? this.#bundle.another(error.message) : error;
  }

  async #openKeyCache(): Promise<void> {
    const { url, keyCache, token = "", adapter = "", onWarning = () => {} } = this.#options;
    if (keyCache === undefined || token === "") return;
    const urls = typeof url === "string" ? [url] : url;
    this.#keptKeys = await KeptKeys.open(keyCache, [adapter, token, ...urls], onWarning);
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

/**
 * Asks for vectors that were meant for a replica with larger limits in several queries. Each vector stays the bytes that
 * it was: what was encrypted once is sent again and nothing else. Where one part is lost, all are asked again.
 */
async function queryInParts(
  connection: ClientConnection,
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
    parts.push(connection.query(group, count, part, keyId));
  }
  const answers = await Promise.all(parts);
  const left = answers.flatMap(({ vectorsLeft }) => (vectorsLeft === undefined ? [] : [vectorsLeft]));
  return {
    words: concatBytes(...answers.map(({ words }) => words)),
    providerMs: answers.reduce((sum, { providerMs }) => sum + providerMs, 0),
    vectorsLeft: left.length === 0 ? undefined : Math.min(...left),
  };
}

function noToken(cause: TacetError): TacetError {
  return new TacetError("unauthorized", "the provider asks for a key, and none was given", {
    hint: "export TACET_TOKEN=…, or --token-file FILE (library: token), with the key that the provider gave you",
    cause,
  });
}

const hasCode = (error: unknown, ...codes: readonly ErrorCode[]): error is TacetError =>
  error instanceof TacetError && codes.includes(error.code);
