/** A client that has pinned a provider's key takes that provider's bundles and nobody else's. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { toHex } from "../../src/base/bytes.ts";
import { createSigningKey, encodeSignature, signBundle } from "../../src/bundle/signature.ts";
import { readSigningKey } from "../../src/cli/bundle/signing-key.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { loadServedAdapter } from "../../src/provider/provider.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { type HostileProvider, replaced, startHostileProvider } from "../support/hostile-provider.ts";
import { temporaryFolder } from "../support/models.ts";
import { tinyBundle } from "../support/tiny-bundle.ts";

const folder = temporaryFolder();
const path = (name: string) => join(folder.path, name);
let provider: HostileProvider;
let key: Uint8Array;
let digest: Uint8Array;

beforeAll(async () => {
  const made = await tinyBundle();
  ({ digest } = made);
  key = await readSigningKey(path("signing.key"));
  writeFileSync(path("bundle.safetensors"), made.bundle);
  writeFileSync(path("private.safetensors"), made.privateState);
  writeFileSync(path("bundle.signature"), encodeSignature(signBundle(key, digest)));
  provider = await startHostileProvider(folder.path);
});
afterAll(async () => {
  await provider?.close();
  folder.remove();
});

const publicKey = () => toHex(signBundle(key, digest).publicKey);
async function open(providerKey?: string): Promise<string> {
  const { provider: remote, bundle } = await RemoteProvider.connect(nodePlatform(), {
    url: provider.url,
    baseFingerprint: new Uint8Array(32).fill(0x5a),
    reconnectMs: 0,
    ...(providerKey === undefined ? {} : { providerKey }),
  });
  remote.close();
  return bundle.manifest.adapter;
}

it("keeps the signing key to its owner, and reads it again", async () => {
  expect(statSync(path("signing.key")).mode & 0o777).toBe(0o600);
  expect(await readSigningKey(path("signing.key"))).toEqual(key);
  writeFileSync(path("other"), "something else");
  await expect(readSigningKey(path("other"))).rejects.toMatchObject({ code: "bad_argument" });
});

it("serves who has pinned the key, and who has pinned nothing", async () => {
  expect(await open(publicKey())).toBe("tiny");
  expect(await open()).toBe("tiny");
});

it("is refused with another key pinned, without a signature, and with one that does not hold", async () => {
  const other = signBundle(createSigningKey(systemRandom), digest);
  await expect(open(toHex(other.publicKey))).rejects.toMatchObject({ code: "bad_bundle" });
  const changes: Record<string, unknown>[] = [
    { bundleSigner: new Uint8Array(0), bundleSignature: new Uint8Array(0) },
    { bundleSignature: new Uint8Array(64) },
    { bundleSignature: other.signature },
    { bundleSigner: other.publicKey, bundleSignature: other.signature },
  ];
  for (const [i, change] of changes.entries()) {
    provider.tamper = (m, bytes) => [m.case === "welcome" ? replaced(m, change) : bytes];
    await expect(open(publicKey())).rejects.toMatchObject({ code: "bad_bundle" });
    // A signature that does not hold is refused by everybody.
    if (i === 1 || i === 2) await expect(open()).rejects.toMatchObject({ code: "bad_bundle" });
  }
  provider.tamper = (_, bytes) => [bytes];
});

it("a provider does not serve a signature of another bundle", async () => {
  const good = readFileSync(path("bundle.signature"));
  for (const bytes of [good.subarray(1), encodeSignature(signBundle(key, new Uint8Array(32)))]) {
    writeFileSync(path("bundle.signature"), bytes);
    await expect(loadServedAdapter(nodeFileTree(folder.path))).rejects.toMatchObject({ code: "bad_state" });
  }
});
