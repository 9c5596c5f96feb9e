/**
 * That everything which a key belongs to reaches its seed from what a provider serves. Whole keys differ for many
 * reasons at a time (the id of a bundle alone changes its public elements and its secrets), so each field is changed by
 * itself here.
 */
import { shake256 } from "@noble/hashes/sha3.js";
import { beforeAll, expect, it } from "vitest";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { toHex, utf8 } from "../base/bytes.ts";
import { keySeed } from "../pll/key-secrets.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { GroupKeys, groupKeyOf } from "./group-keys.ts";
import type { GroupKey } from "./layer-secrets.ts";
import { loadServedAdapter, type ServedAdapter } from "./served-adapter.ts";

let served: ServedAdapter;
beforeAll(async () => {
  const { bundle, privateState } = await tinyBundle();
  const files = { "bundle.safetensors": bundle, "private.safetensors": privateState };
  served = await loadServedAdapter(memoryFileTree(files, "state"));
});

const KEY_ID = Uint8Array.from({ length: 16 }, (_, i) => i);
const flipped = (bytes: Uint8Array, at = 0) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

interface Change {
  readonly adapter?: Partial<ServedAdapter>;
  /** Of group 0's layer. */
  readonly layer?: Partial<Pick<ServedAdapter["layers"][number], "weightsDigest" | "elementsDigest">>;
  readonly account?: string;
  readonly keyId?: Uint8Array;
  readonly group?: number;
}

function keyOf({ adapter, layer, account = "ada", keyId = KEY_ID, group = 0 }: Change = {}) {
  const [first, ...others] = served.layers;
  const layers = layer ? [{ ...first, ...layer } as typeof first, ...others] : served.layers;
  return groupKeyOf({ ...served, layers, ...adapter }, account, keyId, group);
}

const changes: [string, () => Change][] = [
  [
    "the bundle's digest",
    () => ({ adapter: { bundle: { ...served.bundle, digest: flipped(served.bundle.digest) } } }),
  ],
  [
    "W",
    () => ({
      layer: {
        weightsDigest: flipped(served.layers[0].weightsDigest),
        elementsDigest: served.layers[0].elementsDigest,
      },
    }),
  ],
  [
    "the public elements",
    () => ({
      layer: {
        elementsDigest: flipped(served.layers[0].elementsDigest),
        weightsDigest: served.layers[0].weightsDigest,
      },
    }),
  ],
  [
    "the parameters",
    () => {
      const { manifest } = served.bundle;
      const parameters = { ...manifest.parameters, name: "another" } as typeof manifest.parameters;
      return { adapter: { bundle: { ...served.bundle, manifest: { ...manifest, parameters } } } };
    },
  ],
  ["the state folder's root secret", () => ({ adapter: { rootSecret: flipped(served.rootSecret) } })],
  ["the account", () => ({ account: "adb" })],
  ["the key's epoch", () => ({ keyId: flipped(KEY_ID) })],
  ["the key's serial", () => ({ keyId: flipped(KEY_ID, 15) })],
  // Both groups with the same W and inputs: nothing else tells them apart.
  ["the group", () => ({ adapter: { layers: served.layers.map(() => served.layers[0]) }, group: 1 })],
];

/** What a held secret is found by. */
const nameOf = ({ name, group }: GroupKey) => `${group} ${name}`;

it("names the same key the same for all its queries, and another one otherwise, one after the other", () => {
  const keys = new GroupKeys(served, "ada");
  const other = flipped(KEY_ID, 15);
  for (const keyId of [KEY_ID, KEY_ID.slice(), other, KEY_ID, other]) {
    const key = keys.of(keyId, 1);
    expect(nameOf(key)).toBe(nameOf(groupKeyOf(served, "ada", keyId, 1)));
    expect(toHex(key.seed())).toBe(toHex(groupKeyOf(served, "ada", keyId, 1).seed()));
  }
});

it("is the same seed whenever it is asked for", () => {
  expect(toHex(keyOf().seed())).toBe(toHex(keyOf().seed()));
  expect(nameOf(keyOf())).toBe(nameOf(keyOf()));
});

it.each(changes)("another seed with %s", (_, change) => {
  expect(toHex(keyOf(change()).seed())).not.toBe(toHex(keyOf().seed()));
});

it("is the PRF of pll/key-secrets.ts under a root secret of the epoch", () => {
  const { bundle, layers } = served;
  const rootSecret = shake256(
    Uint8Array.from([...utf8("tacet/v2/epoch"), ...served.rootSecret, ...KEY_ID.subarray(0, 8)]),
    { dkLen: 32 },
  );
  const { weightsDigest, elementsDigest } = layers[0];
  const seed = keySeed({
    ...{ rootSecret, bundleDigest: bundle.digest, weightsDigest, elementsDigest },
    ...{ parameters: bundle.manifest.parameters, account: utf8("ada"), keyId: KEY_ID, group: 0 },
  });
  expect(toHex(keyOf().seed())).toBe(toHex(seed));
});

it.each<[string, Change]>([
  ["accounts", { account: "adb" }],
  ["keys", { keyId: flipped(KEY_ID, 15) }],
  ["groups", { group: 1 }],
  ["adapters", { adapter: { name: "other" } }],
])("secrets that are held have names that tell %s apart", (_, change) => {
  expect(nameOf(keyOf(change))).not.toBe(nameOf(keyOf()));
});

it("no two of account and adapter have one name, wherever the one ends and the other begins", () => {
  const names = [
    ["a b", "c"],
    ["a", "b c"],
    ["1 a", "b"],
    ["", "a b c"],
  ].map(([account, name]) => nameOf(keyOf({ account, adapter: { name } })));
  expect(new Set(names).size).toBe(names.length);
});
