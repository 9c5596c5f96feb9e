/**
 * Options of a connection whose wrong value would silently turn something off: a pin that is empty pins nothing, a time
 * that is not a number never ends.
 */
import { TacetError } from "../base/errors.ts";
import type { RemoteProviderOptions } from "./remote-provider.ts";

/** What a timer holds. */
const LONGEST_MS = 2 ** 31 - 1;
const LONGEST_POLL_MICROS = 1_000_000;

/**
 * Returns the options with digests and keys in lower case.
 *
 * @throws TacetError bad_argument naming the option
 */
export function checkOptions(options: RemoteProviderOptions): RemoteProviderOptions {
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
