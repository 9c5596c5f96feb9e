/** Connects to the provider of an adapter, and sees to it that the adapter belongs to the base model. */
import { TacetError } from "../base/errors.ts";
import type { Platform } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import type { BaseIdentity } from "../model/base-identity.ts";
import { vocabSizeOf } from "../model/config-facts.ts";
import type { DeltaUse } from "../model/load-options.ts";
import { joinAdapterText } from "../text/adapter-text.ts";
import { invocationInText } from "../text/invocation.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { quoteName } from "../weights/json-file.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import { checkGroups } from "./check-groups.ts";
import type { AdapterOptions } from "./connect-options.ts";
import { RemoteAdapter } from "./remote-adapter.ts";
import { RemoteProvider } from "./remote-provider.ts";

/** Of a session with a budget, before look-ahead takes a vector for each rank from it. */
const STEPS_FOR_A_RANK = 4;

/** A connection and the adapter behind it, before there is a model. */
export interface JoinedAdapter {
  readonly provider: RemoteProvider;
  readonly bundle: Bundle;
  readonly adapter: RemoteAdapter;
  /** Keys that were kept are back, and one is on its way where there are few. */
  readonly restored: Promise<void>;
  readonly base: BaseIdentity;
  /** The base with the adapter's text. */
  readonly checkpoint: Checkpoint;
  readonly use: DeltaUse;
  close(): void;
}

export interface BaseFacts {
  readonly checkpoint: Checkpoint;
  readonly inputGroups: readonly (readonly string[])[];
  readonly identity: BaseIdentity;
}

/**
 * @throws TacetError connection_failed; wrong_base_model, also with what a quantized copy can't have; bad_bundle;
 *   unsupported_adapter; what the provider refuses with
 */
export async function joinAdapter(
  platform: Platform,
  options: AdapterOptions,
  base: BaseFacts,
): Promise<JoinedAdapter> {
  return await join(platform, options, base).catch(explainCopy(base.identity));
}

async function join(
  platform: Platform,
  options: AdapterOptions,
  { checkpoint, inputGroups, identity }: BaseFacts,
): Promise<JoinedAdapter> {
  const url = options.provider;
  const baseFingerprint = identity.fingerprint;
  const { provider, bundle } = await RemoteProvider.connect(platform, { ...options, url, baseFingerprint });
  try {
    checkGroups(bundle.manifest, identity, inputGroups);
    const joined = await joinAdapterText(checkpoint, bundle.manifest.text, vocabSizeOf(checkpoint));
    const { invocationTokens } = bundle.manifest;
    if (invocationTokens) await checkInvocation(joined, invocationTokens, options.allowInvocation === true);
    const draftAdapter = options.draftAdapter && (await openLoraAdapter(options.draftAdapter));
    const { limits, budget, vectorsPerKey } = provider.welcome;
    const adapter = new RemoteAdapter(bundle, provider, provider.limits, vectorsPerKey, platform.encryption);
    // While the model is loaded.
    const restored = adapter.restoreKeys();
    restored.catch(() => {}); // whoever awaits it is told
    return {
      provider,
      bundle,
      adapter,
      restored,
      base: identity,
      checkpoint: joined,
      use: {
        deltas: adapter,
        lookAhead: options.lookAhead !== false && limits.maxInFlight > 1,
        lookAheadAfter: budget === undefined ? 0 : STEPS_FOR_A_RANK * adapter.largestRank,
        draftAdapter,
      },
      close() {
        provider.close();
        adapter.dispose();
      },
    };
  } catch (error) {
    provider.close();
    throw asBundleError(error);
  }
}

/** Why an adapter for the original may be refused to a copy. */
function explainCopy({ storedAs }: BaseIdentity): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof TacetError) || error.code !== "wrong_base_model" || storedAs === undefined)
      throw error;
    const why = storedAs.startsWith("AWQ")
      ? "AWQ divides norms by scales: ask the provider for a bundle of this copy (tacet bundle --trained-on), or take a GPTQ or GGUF copy"
      : "it must be a copy of that very model, and its provider must have made the bundle with this version of tacet";
    throw new TacetError(error.code, `${error.message} (this one is a copy: ${storedAs})`, {
      hint: why,
      cause: error,
    });
  };
}

/** What a user should know of the weaker check. */
export function copyNotice({ storedAs }: BaseIdentity): string {
  return (
    `the base model is a quantized copy (${storedAs}): it was checked by its norms, biases and sizes, which are those of ` +
    "the adapter's base model; how near it comes to the original, 'tacet inspect --base A --against B' measures"
  );
}

/** @throws TacetError bad_bundle for ids outside the vocabulary, or where the invocation may occur in what is said */
async function checkInvocation(
  checkpoint: Checkpoint,
  invocation: readonly number[],
  isAllowed: boolean,
): Promise<void> {
  const vocabSize = vocabSizeOf(checkpoint);
  const strange = invocation.find((id) => id >= vocabSize);
  if (strange !== undefined) {
    throw new TacetError(
      "bad_bundle",
      `not a usable bundle: the adapter is invoked by the token id ${strange}, outside the base model's vocabulary of ${vocabSize}`,
      { hint: "the provider must make the bundle again for this base model" },
    );
  }
  if (isAllowed) return;
  const text = await invocationInText(checkpoint, invocation);
  if (text === undefined) return;
  throw new TacetError(
    "bad_bundle",
    `the adapter is invoked by ${quoteName(text)}, which may stand in what is said: its provider would learn where`,
    {
      hint: "if you trust it with that, allow it (--allow-invocation, or allowInvocation: true); or the provider trains the adapter to be invoked by control tokens",
    },
  );
}

/** Numbers of a bundle that are out of range are the bundle's fault. */
export function asBundleError(error: unknown): unknown {
  if (!(error instanceof RangeError)) return error;
  return new TacetError("bad_bundle", `the bundle cannot be used: ${error.message}`, { cause: error });
}
