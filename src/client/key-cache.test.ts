/** Keys that outlive a session: which are used again, which go, and what a folder with anything in it does. */
import { chmodSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { temporaryFolder } from "../../test/support/models.ts";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { toHex } from "../base/bytes.ts";
import { decodeBundle } from "../bundle/bundle.ts";
import { keyPartDigest, signKey } from "../bundle/key-signature.ts";
import { readPrivateState } from "../bundle/private-state.ts";
import { nodeKeyCache, nodeSha256 } from "../platform/node.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { KeptKeys, type KeyCache } from "./key-cache.ts";
import { type KeyFormat, keyFormatOf } from "./key-format.ts";
import type { FetchedKey } from "./keys.ts";

let folder: ReturnType<typeof temporaryFolder>;
let format: KeyFormat;
let bundle: string;
let makeKey: (serial: number) => FetchedKey;
beforeEach(async () => {
  folder = temporaryFolder();
  const made = await tinyBundle();
  const decoded = await decodeBundle(made.bundle);
  const tree = memoryFileTree({ "p.safetensors": made.privateState }, "state");
  const { keySigningKey } = await readPrivateState(tree, "p.safetensors", made.manifest, made.digest);
  format = keyFormatOf(decoded, nodeSha256);
  bundle = toHex(made.digest);
  makeKey = (serial) => {
    const id = new Uint8Array(16).fill(serial);
    const groups = format.lengths.map(({ weights, hint }, group) => {
      return { weights: new Uint8Array(weights).fill(serial), hint: new Uint8Array(hint).fill(group) };
    });
    const digests = groups.map((part) => keyPartDigest(part));
    const signature = signKey(keySigningKey, { bundleDigest: made.digest, keyId: id }, digests);
    return { id, vectorsLeft: 256, groups, signature };
  };
});
afterEach(() => folder.remove());

const warned = vi.fn();
const open = (cache: KeyCache = nodeKeyCache(folder.path), of = ["law", "token", "wss://one"]) =>
  KeptKeys.open(cache, of, warned);

async function goodOnes(kept: KeptKeys, left: readonly [number, number][], of = bundle) {
  const found: FetchedKey[] = [];
  const said = left.map(([serial, vectorsLeft]) => ({ keyId: new Uint8Array(16).fill(serial), vectorsLeft }));
  for await (const key of kept.goodOnes(of, format, said)) found.push(key);
  return found;
}

const files = () =>
  readdirSync(folder.path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));

async function keep(...serials: number[]): Promise<void> {
  const kept = await open();
  for (const serial of serials) {
    kept.keep(bundle, makeKey(serial));
    await vi.waitFor(() =>
      expect(files().some((path) => path.endsWith(toHex(makeKey(serial).id)))).toBe(true),
    );
  }
}

describe("keys that were kept", () => {
  it("are named in a Hello, and come back as they were, with what the provider says is left", async () => {
    await keep(1, 2);
    const kept = await open();
    expect(new Set(kept.ids.map(toHex))).toEqual(new Set(["01".repeat(16), "02".repeat(16)]));
    const found = await goodOnes(kept, [
      [1, 256],
      [2, 7],
    ]);
    const byId = new Map(found.map((key) => [toHex(key.id), key]));
    expect(byId.get("01".repeat(16))).toEqual(makeKey(1));
    expect(byId.get("02".repeat(16))).toEqual({ ...makeKey(2), vectorsLeft: 7 });
  });

  it("lie in folders and files of this user alone", async () => {
    await keep(1);
    const [path] = files();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const [account] = readdirSync(folder.path);
    expect(statSync(join(folder.path, account)).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder.path, account, bundle)).mode & 0o777).toBe(0o700);
    // Nothing of the token in a path.
    expect(path).not.toContain("token");
  });

  it("go where the provider does not know them any more, and where they are used up", async () => {
    await keep(1, 2, 3);
    expect(
      await goodOnes(await open(), [
        [1, 256],
        [2, 0],
      ]),
    ).toHaveLength(1);
    expect(files().map((path) => path.slice(-32))).toEqual(["01".repeat(16)]);
  });

  it("go with the bundle that they belong to", async () => {
    await keep(1);
    expect(await goodOnes(await open(), [[1, 256]], "ab".repeat(32))).toEqual([]);
    expect(files()).toEqual([]);
  });

  it("are another account's with another token, adapter or provider", async () => {
    await keep(1);
    for (const of of [
      ["law", "other", "wss://one"],
      ["other", "token", "wss://one"],
      ["law", "token", "wss://two"],
    ]) {
      expect((await open(undefined, of)).ids).toEqual([]);
    }
  });

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ["cut", (bytes) => bytes.subarray(0, -1)],
    ["longer", (bytes) => Uint8Array.from([...bytes, 0])],
    ["empty", () => new Uint8Array(0)],
    ["with a bit changed", (bytes) => bytes.map((byte, i) => (i === 5_000 ? byte ^ 1 : byte))],
    ["another key's", () => readFileSync(files().find((path) => path.endsWith("02".repeat(16)))!)],
  ])("that are damaged (%s) are ignored and removed", async (_, damage) => {
    await keep(1, 2);
    const path = files().find((name) => name.endsWith("01".repeat(16)))!;
    writeFileSync(path, damage(new Uint8Array(readFileSync(path))));
    const found = await goodOnes(await open(), [
      [1, 256],
      [2, 256],
    ]);
    expect(found.map(({ id }) => id[0])).toEqual([2]);
    expect(files()).toHaveLength(1);
  });

  it("that are old, too many or half written go", async () => {
    await keep(1, 2);
    const path = files().find((name) => name.endsWith("01".repeat(16)))!;
    const old = Date.now() / 1000 - 31 * 86_400;
    utimesSync(path, old, old);
    const half = `${path}.a1b2.tmp`;
    writeFileSync(half, "x");
    utimesSync(half, old, old);
    // Two would not be too many.
    expect((await open()).ids).toEqual([makeKey(2).id]);
    expect(files()).toHaveLength(1);
    for (let i = 0; i < 40; i++) writeFileSync(join(path, "..", i.toString(16).padStart(32, "0")), "x");
    expect((await open()).ids).toHaveLength(32);
    expect(files()).toHaveLength(32);
  });

  it("that are forgotten are removed; a second time changes nothing", async () => {
    await keep(1);
    const kept = await open();
    kept.forget(bundle, makeKey(1).id);
    await vi.waitFor(() => expect(files()).toEqual([]));
    kept.forget(bundle, makeKey(1).id);
  });

  it("do no harm where they cannot be kept: one warning", async () => {
    warned.mockClear();
    const broken: KeyCache = {
      list: () => Promise.reject(new Error("no")),
      get: () => Promise.reject(new Error("no")),
      put: () => Promise.reject(new Error("disk full")),
      remove: () => Promise.reject(new Error("no")),
    };
    const kept = await open(broken);
    for (const serial of [1, 2, 3]) kept.keep(bundle, makeKey(serial));
    kept.forget(bundle, makeKey(1).id);
    await vi.waitFor(() => expect(warned).toHaveBeenCalledTimes(1));
    expect(warned).toHaveBeenCalledWith(expect.stringContaining("disk full"));
  });
});

describe("names that are no hashes", () => {
  it("are no paths", async () => {
    const cache = nodeKeyCache(folder.path);
    const name = { account: "../..".padEnd(32, "a"), bundle, id: "01".repeat(16) };
    await expect(cache.put(name, new Uint8Array(1))).rejects.toThrow(RangeError);
    await expect(cache.list("..")).rejects.toThrow(RangeError);
    chmodSync(folder.path, 0o700);
    expect(files()).toEqual([]);
  });
});
