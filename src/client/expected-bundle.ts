/**
 * The bundle that a provider must serve: the one that was pinned, else the one that it served first, signed as it should
 * be. The provider's word counts for nothing here.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { equalBytes, fromHex, toHex } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { type Bundle, decodeBundle } from "../bundle/bundle.ts";
import { isSignedBy, isSignedByKey } from "../bundle/signature.ts";
import type { ClientConnection } from "./connection/client-connection.ts";
import type { WelcomeInfo } from "./connection/welcome.ts";
import type { RemoteProviderOptions } from "./provider-options.ts";

export class ExpectedBundle {
  readonly #options: RemoteProviderOptions;
  #digest: Uint8Array;

  constructor(options: RemoteProviderOptions) {
    this.#options = options;
    this.#digest = options.pinnedDigest === undefined ? new Uint8Array(0) : fromHex(options.pinnedDigest);
  }

  /** Its SHA-256; empty while any would do. */
  get digest(): Uint8Array {
    return this.#digest;
  }

  /**
   * Looks at what a provider says that it serves. One that does not keep to the digest in our Hello is not the one that
   * was pinned, or was lost.
   *
   * @throws TacetError bundle_changed, bad_bundle
   */
  check({ bundleDigest, signature }: WelcomeInfo): void {
    if (this.#digest.length !== 0 && !equalBytes(this.#digest, bundleDigest)) {
      throw this.another(`the provider serves the bundle ${toHex(bundleDigest)}`);
    }
    // A signature must be one; with a pinned key, that key's.
    const { providerKey } = this.#options;
    if (providerKey === undefined) {
      if (signature === undefined || isSignedBy(signature, bundleDigest)) return;
    } else if (isSignedByKey(signature, bundleDigest, fromHex(providerKey))) return;
    const what = signature === undefined ? "is not signed" : "has a signature that does not hold";
    throw new TacetError("bad_bundle", `the provider's bundle ${what}`, {
      hint: "compare the key with the one that the provider has made public (--provider-key)",
    });
  }

  /**
   * That it serves another one. The advice is ours, whatever the provider says: what a pin is for is not to take its
   * word.
   */
  another(said: string): TacetError {
    const wanted = toHex(this.#digest);
    const message = said.includes(wanted) ? said : `${said}, not ${wanted}, which was asked for`;
    const hint =
      this.#options.pinnedDigest === undefined
        ? "the adapter was replaced while this client was running: start it again"
        : "keep the digest unless the provider has published the other one in a place that you trust";
    return new TacetError("bundle_changed", message, { hint });
  }

  /**
   * Gets it, from the cache where it is there; from now on no other will do.
   *
   * @throws TacetError bad_bundle; what fetching it throws
   */
  async get(connection: ClientConnection): Promise<Bundle> {
    const bundle = await this.#fetch(connection);
    this.#digest = bundle.digest.slice();
    return bundle;
  }

  async #fetch(connection: ClientConnection): Promise<Bundle> {
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
