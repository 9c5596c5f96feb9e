/**
 * How a client reaches its provider. Checked are those options whose wrong value would silently turn something off: a pin
 * that is empty pins nothing, a time that is not a number never ends.
 */
import { TacetError } from "../base/errors.ts";
import type { BundleCache } from "./bundle-cache.ts";
import type { KeyCache } from "./key-cache.ts";

export interface RemoteProviderOptions {
  /** ws:// or wss:// URL; of several, the next one is tried when one fails (replicas of one provider). */
  readonly url: string | readonly string[];
  /** Name of the adapter; by default the provider's only or first one. */
  readonly adapter?: string | undefined;
  readonly baseFingerprint: Uint8Array;
  readonly token?: string | undefined;
  /** SHA-256 in hex that the bundle must have: a digest that the provider has made public. */
  readonly pinnedDigest?: string | undefined;
  /** Ed25519 public key in hex that must have signed the bundle: the provider's, which it has made public. */
  readonly providerKey?: string | undefined;
  readonly cache?: BundleCache | undefined;
  /**
   * Where keys are kept between sessions, by default nowhere. Without a token there is no account that they could belong
   * to, and they are not kept.
   */
  readonly keyCache?: KeyCache | undefined;
  /** Milliseconds for one handshake. Default 10,000. */
  readonly handshakeMs?: number | undefined;
  /** Milliseconds of silence after which a provider that owes an answer counts as lost. Default 60,000. */
  readonly silenceMs?: number | undefined;
  /** Milliseconds that a lost provider is waited for. Default 10,000; 0: not at all. */
  readonly reconnectMs?: number | undefined;
  /**
   * Longest time awake for an answer that usually comes soon, in microseconds; 0: never. For platforms that can poll
   * (Node). Default 2,000.
   */
  readonly pollMicros?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onBundleProgress?: ((fraction: number) => void) | undefined;
  /** Something that went wrong without harm: one line. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/** What a timer holds. */
const LONGEST_MS = 2 ** 31 - 1;
const LONGEST_POLL_MICROS = 1_000_000;

/**
 * Returns the options with digests and keys in lower case.
 *
 * @throws TacetError bad_argument naming the option
 */
export function checkProviderOptions(options: RemoteProviderOptions): RemoteProviderOptions {
  const { pinnedDigest, providerKey, token } = options;
  if (token !== undefined && (typeof token !== "string" || token === "")) {
    throw new TacetError("bad_argument", "token must be a text that is not empty", {
      hint: "leave it out where the provider asks for none; an environment variable may not be set",
    });
  }
  checkNumber(options, "handshakeMs", 1, LONGEST_MS);
  checkNumber(options, "silenceMs", 1, LONGEST_MS);
  checkNumber(options, "reconnectMs", 0, LONGEST_MS);
  checkNumber(options, "pollMicros", 0, LONGEST_POLL_MICROS);
  return {
    ...options,
    ...(pinnedDigest === undefined ? {} : { pinnedDigest: hex32("pinnedDigest", pinnedDigest) }),
    ...(providerKey === undefined ? {} : { providerKey: hex32("providerKey", providerKey) }),
  };
}

function hex32(name: string, value: unknown): string {
  if (typeof value === "string" && /^[0-9a-fA-F]{64}$/.test(value)) return value.toLowerCase();
  throw new TacetError("bad_argument", `${name} must be 64 hex digits`, {
    hint: "leave it out to accept any; 'tacet inspect' prints a bundle's digest and who signed it",
  });
}

function checkNumber(
  options: RemoteProviderOptions,
  name: "handshakeMs" | "silenceMs" | "reconnectMs" | "pollMicros",
  low: number,
  high: number,
): void {
  const value: unknown = options[name];
  if (value === undefined || (typeof value === "number" && value >= low && value <= high)) return;
  throw new TacetError("bad_argument", `${name} must be a number from ${low} to ${high}`);
}
