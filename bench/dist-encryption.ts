// Encryption threads for benches: they run from sources, which Node's threads can't, so these run the built script.
import type { EncryptionPlatform } from "../src/base/platform.ts";
import { nodeEncryption } from "../src/platform/node/threads.ts";

export function distEncryption(): EncryptionPlatform {
  return nodeEncryption(new URL("../dist/library/node-encryption-thread.js", import.meta.url));
}
