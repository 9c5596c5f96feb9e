/**
 * No key of the private layer answers more vectors of a group than it may: not over keys, scopes, restarts, replicas,
 * compaction, replays, clocks, a loss of power or a copied folder; and one that may answer does.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { memoryJournal } from "../../test/support/memory-journal.ts";
import { NO_REDIS } from "../../test/support/redis-server.ts";
import {
  ask,
  embeddedSubject,
  keyIsLive,
  newRecord,
  NOW,
  redisForTests,
  redisSubject,
  type StoreSubject,
} from "../../test/support/store-subjects.ts";
import { openDataFolder } from "../library/node-data-folder.ts";
import { connectRedis } from "../platform/node.ts";
import { EmbeddedStore } from "./embedded-store.ts";
import { keyIdOf, keyNameOf, LIVE_KEYS } from "./key-ids.ts";
import type { ProviderStore } from "./store.ts";

const LIMIT = 12;
const SCOPES = ["a", "b"].map((module) => JSON.stringify(["law", "f".repeat(32), module]));

const redis = redisForTests();

const SUBJECTS = [
  { name: "EmbeddedStore", skip: false, make: () => embeddedSubject() },
  { name: "EmbeddedStore, compacting", skip: false, make: () => embeddedSubject({ compactBytes: 0 }) },
  {
    name: `RedisStore, two replicas${NO_REDIS || ""}`,
    skip: NO_REDIS,
    make: redis.make,
  },
];

let requests = 0;
/** What a store says of a query under a key, in a word. */
async function use(
  store: ProviderStore,
  account: string,
  keyId: Uint8Array,
  { vectors = 1, scope = SCOPES[0], request = ++requests, nowMs = NOW } = {},
): Promise<string> {
  const digest = new Uint8Array(16);
  new DataView(digest.buffer).setUint32(0, request);
  const reservation = ask({ account, scope, vectors, digest, nowMs, keyUse: { keyId, limit: LIMIT } });
  const { granted, replayed, keyRefused } = await store.reserve(reservation);
  return keyRefused ?? (replayed ? "again" : granted ? "yes" : "no");
}

describe.each(SUBJECTS.map((subject) => [subject.name, subject] as const))("%s", (_, { skip, make }) => {
  const test = it.skipIf(skip !== false);
  const one = async () => {
    const subject: StoreSubject = await make();
    return { subject, store: () => subject.stores[0] };
  };

  test("counts each scope for itself, to the last vector, and refuses without a charge", async () => {
    const { store } = await one();
    const key = await store().allocateKey("ada");
    expect(await use(store(), "ada", key, { vectors: 10 })).toBe("yes");
    expect(await use(store(), "ada", key, { vectors: 3 })).toBe("worn_key");
    expect(await use(store(), "ada", key, { vectors: 2 })).toBe("yes");
    expect(await use(store(), "ada", key)).toBe("worn_key");
    expect(await use(store(), "ada", key, { scope: SCOPES[1], vectors: LIMIT })).toBe("yes");
    expect(await store().keysLeft("ada", [key], SCOPES, LIMIT)).toEqual([0]);
    const other = await store().allocateKey("ada");
    expect(await use(store(), "ada", other, { vectors: 5 })).toBe("yes");
    expect(await store().keysLeft("ada", [other, key], SCOPES, LIMIT)).toEqual([LIMIT - 5, 0]);
  });

  test("answers a request again under the same key without a charge", async () => {
    const { store } = await one();
    const key = await store().allocateKey("ada");
    expect(await use(store(), "ada", key, { vectors: LIMIT, request: 7 })).toBe("yes");
    expect(await use(store(), "ada", key, { vectors: LIMIT, request: 7 })).toBe("again");
  });

  test("knows no key that was not made for the account, or is of another epoch", async () => {
    const { store } = await one();
    const key = await store().allocateKey("ada");
    const { epoch, serial } = keyNameOf(key)!;
    for (const [account, id] of [
      ["bob", key],
      ["ada", keyIdOf({ epoch, serial: serial + 1 })],
      ["ada", keyIdOf({ epoch: "0123456789abcdef", serial })],
      ["ada", new Uint8Array(16)],
      ["ada", new Uint8Array(16).fill(255)],
      ["ada", new Uint8Array(15)],
    ] as const) {
      expect(await use(store(), account, id)).toBe("unknown_key");
      expect(await keyIsLive(store(), account, id)).toBe(false);
      expect(await store().keysLeft(account, [id], SCOPES, LIMIT)).toEqual([undefined]);
    }
    expect(await keyIsLive(store(), "ada", key)).toBe(true);
  });

  test("keeps the newest keys of an account, never gives a serial twice, and forgets nothing of them", async () => {
    const { subject, store } = await one();
    const keys: Uint8Array[] = [];
    for (let i = 0; i < LIVE_KEYS + 6; i++) {
      keys.push(await store().allocateKey("ada"));
      await use(store(), "ada", keys[i], { vectors: LIMIT - 1 });
      if (i === 30) await subject.restart();
    }
    await subject.restart();
    const said: string[] = [];
    for (const key of keys) said.push(await use(store(), "ada", key, { vectors: 2 }));
    expect(said).toEqual([...Array(6).fill("unknown_key"), ...Array(LIVE_KEYS).fill("worn_key")]);
    expect(new Set(keys.map((key) => keyNameOf(key)!.serial)).size).toBe(keys.length);
    expect(new Set(keys.map((key) => keyNameOf(key)!.epoch)).size).toBe(1);
  });

  test("lets no key answer more than it may, whatever happens (property)", async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("make" as const), account: fc.constantFrom("ada", "bob") }),
      fc.record({ do: fc.constant("restart" as const) }),
      fc.record({ do: fc.constant("budget" as const), account: fc.constantFrom("ada", "bob") }),
      fc.record({
        do: fc.constant("ask" as const),
        key: fc.nat(7),
        scope: fc.constantFrom(...SCOPES),
        vectors: fc.integer({ min: 1, max: 7 }),
        again: fc.boolean(),
        clock: fc.integer({ min: -100_000_000, max: 100_000_000 }),
        replica: fc.nat(1),
      }),
    );
    const runs = process.env.SLOW ? 200 : 12;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const subject = await make();
        const keys: { account: string; id: Uint8Array }[] = [];
        const answered = new Map<string, number>();
        let last: { name: string; request: number; vectors: number; scope: string } | undefined;
        for (const each of steps) {
          if (each.do === "restart") await subject.restart();
          else if (each.do === "budget") await subject.setKey(newRecord({ account: each.account }));
          else if (each.do === "make")
            keys.push({ account: each.account, id: await subject.stores[0].allocateKey(each.account) });
          else if (keys.length > 0) {
            const i = each.key % keys.length;
            const { id, account: owner } = keys[i];
            const name = `${i} ${each.scope}`;
            const again = each.again && last?.name === name ? last : undefined;
            const request = again?.request ?? ++requests;
            const vectors = again?.vectors ?? each.vectors;
            const store = subject.stores[each.replica % subject.stores.length];
            const { scope } = each;
            const said = await use(store, owner, id, { scope, vectors, request, nowMs: NOW + each.clock });
            const before = answered.get(name) ?? 0;
            if (again) expect(said).toBe("again");
            else expect(said).toBe(before + vectors <= LIMIT ? "yes" : "worn_key");
            if (said === "yes") {
              answered.set(name, before + vectors);
              last = { name, request, vectors, scope };
            }
          }
        }
        for (const used of answered.values()) expect(used).toBeLessThanOrEqual(LIMIT);
      }),
      { numRuns: runs },
    );
  });

  test("counts what many ask at once", async () => {
    const { subject, store } = await one();
    const key = await store().allocateKey("ada");
    const all = await Promise.all(
      Array.from({ length: 40 }, (_, i) => use(subject.stores[i % subject.stores.length], "ada", key)),
    );
    expect(all.filter((said) => said === "yes")).toHaveLength(LIMIT);
    expect(all.filter((said) => said === "worn_key")).toHaveLength(40 - LIMIT);
  });
});

describe("a journal", () => {
  it("goes on with its keys where it is as it was left, and ends them where it may not be", async () => {
    for (const isUntouched of [true, false, undefined]) {
      const journal = memoryJournal();
      const first = new EmbeddedStore(journal, []);
      const key = await first.allocateKey("ada");
      await use(first, "ada", key, { vectors: LIMIT - 1 });
      first.close();
      const options = isUntouched === undefined ? {} : { isUntouchedSince: () => isUntouched };
      const second = new EmbeddedStore(journal, journal.records, options);
      if (isUntouched) {
        expect(await use(second, "ada", key, { vectors: 2 })).toBe("worn_key");
        expect(await use(second, "ada", key, { vectors: 1 })).toBe("yes");
      } else {
        expect(await use(second, "ada", key)).toBe("unknown_key");
        const { epoch } = keyNameOf(await second.allocateKey("ada"))!;
        expect(epoch).not.toBe(keyNameOf(key)!.epoch);
      }
    }
  });

  it("takes nothing of the API key's rate for a query whose key is refused", async () => {
    const store = new EmbeddedStore(memoryJournal(), []);
    const record = newRecord({ account: "ada", vectorsPerSecond: 1 });
    store.setKeys([record]);
    const key = await store.allocateKey("ada");
    const query = async (keyId: Uint8Array, vectors: number) => {
      const { keyRefused, waitMs } = await store.reserve(
        ask({ account: "ada", vectors, key: record, keyUse: { keyId, limit: LIMIT } }),
      );
      return keyRefused ?? waitMs ?? 0;
    };
    for (let i = 0; i < 5; i++) expect(await query(new Uint8Array(16), 10)).toBe("unknown_key");
    for (let i = 0; i < 5; i++) expect(await query(key, LIMIT + 1)).toBe("worn_key");
    expect(await query(key, 10)).toBe(0);
    expect(await query(key, 1)).toBeGreaterThan(0);
  });

  it("is written and flushed before a key is given out", async () => {
    const journal = memoryJournal();
    const store = new EmbeddedStore(journal, []);
    let flushed = false;
    journal.flushed = async () => {
      flushed = true;
    };
    await store.allocateKey("ada");
    expect(flushed).toBe(true);
    journal.failure = new Error("full");
    await expect(store.allocateKey("ada")).rejects.toThrow("full");
    const key = keyIdOf({ epoch: "0".repeat(16), serial: 2 });
    expect(await keyIsLive(store, "ada", key)).toBe(false);
  });
});

describe("a data folder", () => {
  const dirs: string[] = [];
  const folder = () => {
    const dir = mkdtempSync(join(tmpdir(), "tacet-epoch-"));
    dirs.push(dir);
    return dir;
  };
  afterAll(() => {
    for (const dir of dirs) rmSync(dir, { recursive: true });
  });
  const opened = async (dir: string) => await openDataFolder(dir, {}, { onFault: () => {} });

  const copy = (from: string, to: string) => {
    for (const name of readdirSync(from)) copyFileSync(join(from, name), join(to, name));
  };

  it("goes on with its keys after a provider has ended", async () => {
    const dir = folder();
    const first = await opened(dir);
    const key = await first.store.allocateKey("ada");
    await use(first.store, "ada", key, { vectors: LIMIT });
    first.close();
    for (let runs = 0; runs < 2; runs++) {
      const again = await opened(dir);
      expect(await use(again.store, "ada", key)).toBe("worn_key");
      again.close();
    }
  });

  // A copy that is put back in place keeps device and inode, and cp -p and tar also the time of writing.
  it.each([
    [
      "cp -p over the files",
      (backup: string, dir: string) => execFileSync("cp", ["-pr", `${backup}/.`, dir]),
    ],
    [
      "rm, then cp -p",
      (backup: string, dir: string) => {
        rmSync(dir, { recursive: true });
        execFileSync("cp", ["-pr", backup, dir]);
      },
    ],
    [
      "rm, then tar",
      (backup: string, dir: string) => {
        rmSync(dir, { recursive: true });
        mkdirSync(dir);
        execFileSync("sh", ["-c", 'tar -C "$0" -cf - . | tar -C "$1" -xf -', backup, dir]);
      },
    ],
    ["the journal alone", (backup: string, dir: string) => copy(backup, dir)],
  ])("begins an epoch after a backup was put back: %s", async (_, putBack) => {
    const dir = folder();
    const first = await opened(dir);
    const key = await first.store.allocateKey("ada");
    await use(first.store, "ada", key, { vectors: LIMIT - 2 });
    first.close();
    const backup = folder();
    execFileSync("cp", ["-pr", `${dir}/.`, backup]);
    const second = await opened(dir);
    expect(await use(second.store, "ada", key, { vectors: 2 })).toBe("yes");
    const later = await second.store.allocateKey("ada");
    second.close();
    putBack(backup, dir);
    const restored = await opened(dir);
    for (const each of [key, later]) expect(await use(restored.store, "ada", each)).toBe("unknown_key");
    restored.close();
    const copied = await opened(backup);
    expect(await use(copied.store, "ada", key)).toBe("unknown_key");
    copied.close();
  });

  it.each([
    ["in its place", (killed: string, dir: string) => execFileSync("cp", ["-pr", `${killed}/.`, dir])],
    [
      "by tar",
      (killed: string, dir: string) => {
        rmSync(dir, { recursive: true });
        mkdirSync(dir);
        execFileSync("sh", ["-c", 'tar -C "$0" -cf - . | tar -C "$1" -xf -', killed, dir]);
      },
    ],
  ])("begins an epoch where the folder of a running provider was put back %s", async (_, putBack) => {
    const dir = folder();
    const first = await opened(dir);
    const key = await first.store.allocateKey("ada");
    const backup = folder();
    execFileSync("cp", ["-pr", `${dir}/.`, backup]);
    rmSync(join(backup, "lock"), { force: true });
    await use(first.store, "ada", key, { vectors: LIMIT });
    first.close();
    putBack(backup, dir);
    const again = await opened(dir);
    expect(await use(again.store, "ada", key)).toBe("unknown_key");
    again.close();
  });

  it("begins an epoch where there is no mark, or another machine's", async () => {
    for (const change of [
      (mark: string) => rmSync(mark),
      (mark: string) => writeFileSync(mark, "running"),
      (mark: string) => writeFileSync(mark, readFileSync(mark, "latin1").replace(/^\S+/, "other")),
    ]) {
      const dir = folder();
      const first = await opened(dir);
      const key = await first.store.allocateKey("ada");
      first.close();
      change(join(dir, "usage.mark"));
      const again = await opened(dir);
      expect(await use(again.store, "ada", key)).toBe("unknown_key");
      again.close();
    }
  });

  it("goes on with its keys after a provider that was killed", async () => {
    const dir = folder();
    const script = `
      const { openDataFolder } = await import(${JSON.stringify(new URL("../library/node-data-folder.ts", import.meta.url).href)});
      const { store } = await openDataFolder(${JSON.stringify(dir)}, {}, { onFault() {} });
      console.log(Buffer.from(await store.allocateKey("ada")).toString("hex"));
      process.kill(process.pid, "SIGKILL");`;
    const { stdout } = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script]);
    const key = new Uint8Array(Buffer.from(stdout.toString().trim(), "hex"));
    expect(key).toHaveLength(16);
    const again = await opened(dir);
    expect(await use(again.store, "ada", key)).toBe("yes");
    again.close();
  });
});

describe.skipIf(NO_REDIS !== false)("a Redis server", () => {
  it("that is another one begins an epoch, and what it forgot cannot be asked", async () => {
    const subject = await redisSubject(redis.url, { prefix: "run:" }, redis.open);
    const [store] = subject.stores;
    const key = await store.allocateKey("ada");
    expect(await use(store, "ada", key)).toBe("yes");
    await subject.restart(); // of the providers: the server is the same
    expect(await use(subject.stores[0], "ada", key)).toBe("yes");
    const link = await connectRedis({ url: redis.url });
    await link.send(["SET", "run:epoch", `${keyNameOf(key)!.epoch} ${"0".repeat(40)}`]);
    await link.send(["SCRIPT", "FLUSH"]); // as a server that has started anew
    link.close();
    expect(await use(subject.stores[0], "ada", key)).toBe("unknown_key");
    expect(await use(subject.stores[1], "ada", key)).toBe("unknown_key");
  });
});
