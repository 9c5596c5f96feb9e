/** SHA-256 by the browser, beside this thread. */
import { concatBytes } from "../../base/bytes.ts";
import type { Platform } from "../../base/platform.ts";

/** Undefined on pages that the browser does not trust, http:// of another machine: they have no crypto.subtle. */
export function webSha256(
  subtle: SubtleCrypto | null = globalThis.crypto?.subtle ?? null,
): Platform["sha256"] {
  if (subtle === null) return undefined;
  return async (parts) =>
    new Uint8Array(await subtle.digest("SHA-256", concatBytes(...parts) as Uint8Array<ArrayBuffer>));
}
