/** The handshake: what a client says in Hello, and what a provider's Welcome tells it. */
import { TacetError } from "../../base/errors.ts";
import type { BundleSignature } from "../../bundle/signature.ts";
import { KEY_ID_BYTES } from "../../pll/key-secrets.ts";
import { PROTOCOL_VERSION, type ProviderMessage } from "../../wire/frames.ts";
import { type Limits, MAX_MESSAGE_BYTES } from "../../wire/limits.ts";
import type { BudgetLeft } from "../budget-left.ts";
import type { KeyLeft } from "../keys.ts";
import { failureError, RETRY_HINT } from "./provider-failures.ts";

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

/** @throws TacetError what the provider refuses with; unsupported_version, connection_lost, bad_frame */
export function readWelcome(message: ProviderMessage): WelcomeInfo {
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
