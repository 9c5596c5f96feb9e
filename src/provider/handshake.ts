/**
 * The handshake: what a client says of itself in Hello (its protocol version, its base model, the bundle and the keys that
 * it has), and what the Welcome answers.
 */
import { equalBytes, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { KEY_ID_BYTES } from "../pll/key-secrets.ts";
import { type ClientMessage, PROTOCOL_VERSION, type ProviderMessageInit } from "../wire/frames.ts";
import type { Limits } from "../wire/limits.ts";
import type { Admission } from "./connection-host.ts";
import type { BudgetNow } from "./meter.ts";
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
function checkHello(hello: Hello, adapter: ServedAdapter): void {
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

/** What is known of a connection that is let in. */
export interface WelcomeFacts {
  readonly admission: Admission;
  readonly budget: BudgetNow | undefined;
  /** Of the keys that Hello named, those that may still be used. */
  readonly keys: readonly { readonly keyId: Uint8Array; readonly vectorsLeft: number }[];
}

/** @throws TacetError as {@link checkHello}; unavailable where the store is out of reach */
export async function welcomeFacts(hello: Hello, admission: Admission): Promise<WelcomeFacts> {
  checkHello(hello, admission.adapter);
  const { ledger, meter } = admission;
  const budget = await meter?.budget();
  // Copies: views would keep the message alive.
  const keyIds = hello.keyIds.filter(({ length }) => length === KEY_ID_BYTES).map((id) => id.slice());
  const left = keyIds.length === 0 ? [] : await ledger.left(keyIds);
  const keys = keyIds.flatMap((keyId, i) => {
    const vectorsLeft = left[i];
    return vectorsLeft === undefined ? [] : [{ keyId, vectorsLeft }];
  });
  return { admission, budget, keys };
}

export function welcomeMessage(
  { admission: { adapter }, budget, keys }: WelcomeFacts,
  limits: Limits,
): NonNullable<ProviderMessageInit> {
  const { bundle, signature, markSecret } = adapter;
  return {
    case: "welcome",
    value: {
      version: PROTOCOL_VERSION,
      adapter: adapter.name,
      bundleDigest: bundle.digest,
      bundleBytes: BigInt(bundle.bytes.length),
      limits,
      ...(budget && {
        budget: {
          vectors: BigInt(budget.vectors),
          windowSeconds: budget.windowSeconds,
          left: BigInt(budget.left),
        },
      }),
      ...(signature && { bundleSigner: signature.publicKey, bundleSignature: signature.signature }),
      keys: [...keys],
      vectorsPerKey: bundle.manifest.parameters.vectorsPerKey,
      marked: markSecret !== undefined,
    },
  };
}

function equalsHex(bytes: Uint8Array, hex: string): boolean {
  return bytes.every((byte, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16) === byte);
}
