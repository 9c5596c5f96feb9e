/** What a client says of itself when it connects: its protocol version, its base model, the bundle that it has. */
import { equalBytes, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { type ClientMessage, PROTOCOL_VERSION } from "../wire/frames.ts";
import type { ServedAdapter } from "./served-adapter.ts";

export type Hello = Extract<ClientMessage, { case: "hello" }>["value"];

/** @throws TacetError unsupported_version */
export function checkVersion({ version }: Hello): void {
  if (version === PROTOCOL_VERSION) return;
  throw new TacetError(
    "unsupported_version",
    `the client speaks protocol version ${version}, the provider ${PROTOCOL_VERSION}`,
    { hint: "use the same version of tacet on both sides" },
  );
}

/** @throws TacetError wrong_base_model, bundle_changed */
export function checkHello(hello: Hello, adapter: ServedAdapter): void {
  const { manifest, digest } = adapter.bundle;
  const { baseFingerprint, baseVectorsFingerprint } = manifest;
  // An original is known by its weights, a quantized copy by its vectors: no hash of the one is a hash of the other.
  const known = [baseFingerprint, ...(baseVectorsFingerprint ? [baseVectorsFingerprint] : [])];
  const isKnown = (hex: string) =>
    hello.baseFingerprint.length === 32 && equalsHex(hello.baseFingerprint, hex);
  if (!known.some(isKnown)) {
    const copies = baseVectorsFingerprint
      ? `, quantized copies of it ${baseVectorsFingerprint.slice(0, 16)}…`
      : "";
    throw new TacetError("wrong_base_model", `adapter ${adapter.name} was made for another base model`, {
      hint: `its base model has the fingerprint ${baseFingerprint.slice(0, 16)}…${copies}; see 'tacet inspect --base DIR'`,
    });
  }
  if (hello.bundleDigest.length !== 0 && !equalBytes(hello.bundleDigest, digest)) {
    const asked = hello.bundleDigest.length === 32 ? toHex(hello.bundleDigest) : "no SHA-256";
    throw new TacetError(
      "bundle_changed",
      `adapter ${adapter.name} has the bundle ${toHex(digest)}, not ${asked}, which was asked for`,
      { hint: "ask the provider, by another way, whether it has published this digest" },
    );
  }
}

function equalsHex(bytes: Uint8Array, hex: string): boolean {
  return bytes.every((byte, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16) === byte);
}
