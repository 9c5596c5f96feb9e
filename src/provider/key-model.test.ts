/**
 * That no key answers more than its limit of any scope, in both stores: against a model that keeps every answer, over
 * replicas, restarts, losses of power, replays, clocks and budgets.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ask,
  digestOf,
  keyIsLive,
  newRecord,
  NOW,
  redisForTests,
  type StoreSubject,
  setBudgets,
  storesToTry,
} from "../../test/support/store-subjects.ts";
import { toHex } from "../base/bytes.ts";
import { KEY_ID_BYTES } from "../pll/key-secrets.ts";
import { LIVE_KEYS } from "./key-ids.ts";
import type { ProviderStore, Reservation } from "./store.ts";

const RUNS = process.env.SLOW ? 2_000 : 100;
const REDIS_RUNS = process.env.SLOW ? 300 : 20;
const LIMIT = 10;

const redis = redisForTests();

const under = (keyId: Uint8Array, change: Partial<Reservation> = {}): Reservation =>
  ask({ keyUse: { keyId, limit: LIMIT }, ...change });

/** What a store says, in short. */
async function told(store: ProviderStore, request: Reservation): Promise<string> {
  const { granted, replayed, keyRefused } = await store.reserve(request);
  if (granted) return replayed ? "replayed" : "granted";
  return keyRefused ?? "no budget";
}

const serialOf = (id: Uint8Array) => new DataView(id.buffer, id.byteOffset).getBigUint64(8);
function withSerial(id: Uint8Array, serial: bigint): Uint8Array {
  const other = id.slice();
  new DataView(other.buffer).setBigUint64(8, serial);
  return other;
}

const SUBJECTS = storesToTry(redis.make, RUNS, REDIS_RUNS);
describe.each(SUBJECTS.map((subject) => [subject.name, subject] as const))(
  "%s",
  (_, { skip, make, runs }) => {
    const test = it.skipIf(skip !== false);

    test("makes keys of one epoch whose serials count up, for each account, also of many at once", async () => {
      const { stores } = await make();
      const make1 = (i: number) => stores[i % stores.length].allocateKey("ada");
      const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => make1(i)));
      ids.push(await stores[0].allocateKey("bob"));
      expect(ids.every((id) => id.length === KEY_ID_BYTES)).toBe(true);
      expect(new Set(ids.map((id) => toHex(id.subarray(0, 8)))).size).toBe(1);
      const serials = ids.slice(0, 20).map(serialOf);
      expect(serials.sort((a, b) => Number(a - b))).toEqual(
        Array.from({ length: 20 }, (_, i) => BigInt(i + 1)),
      );
      expect(serialOf(ids[20])).toBe(1n);
    });

    test("grants to the last vector of a key and not one more, by account, scope and key", async () => {
      const { stores } = await make();
      const store = stores[0];
      const [first, second] = [await store.allocateKey("ada"), await store.allocateKey("ada")];
      const bobs = await store.allocateKey("bob");
      expect(await told(store, under(first, { vectors: 8 }))).toBe("granted");
      expect(await told(store, under(first, { vectors: 3 }))).toBe("worn_key");
      expect(await told(store, under(first, { vectors: 2 }))).toBe("granted");
      expect(await told(store, under(first))).toBe("worn_key");
      expect(await told(store, under(first, { scope: "other", vectors: LIMIT }))).toBe("granted");
      expect(await told(store, under(second, { vectors: 4 }))).toBe("granted");
      expect(await told(store, under(bobs, { account: "bob", vectors: LIMIT }))).toBe("granted");
      const scopes = [ask().scope, "other", "new"];
      expect(await store.keysLeft("ada", [first, second], scopes, LIMIT)).toEqual([0, 6]);
      expect(await store.keysLeft("ada", [first, second], ["new"], LIMIT)).toEqual([LIMIT, LIMIT]);
      expect(await store.keysLeft("ada", [], scopes, LIMIT)).toEqual([]);
    });

    test("says how much of a key is left, of each scope by itself", async () => {
      const { stores } = await make();
      const store = stores[0];
      const key = await store.allocateKey("ada");
      const request = under(key, { vectors: LIMIT - 1 });
      const left = async (asked: Reservation) => (await store.reserve(asked)).keyLeft;
      expect(await left(request)).toBe(1);
      // Once more: nothing is taken off.
      expect(await left(request)).toBe(1);
      expect(await left(under(key, { vectors: 2 }))).toBeUndefined();
      expect(await left(under(key, { scope: "other" }))).toBe(LIMIT - 1);
      expect(await left(under(key))).toBe(0);
      expect(await left(ask())).toBeUndefined();
    });

    test("charges nothing for a key that is refused, neither the budget nor the rate", async () => {
      const subject = await make();
      const { stores, setKey } = subject;
      const key = newRecord({
        account: "ada",
        vectorsPerSecond: 1,
        budget: { vectors: 100, windowSeconds: 0 },
      });
      await setKey(key);
      const worn = await stores[0].allocateKey("ada");
      expect(await told(stores[0], under(worn, { key, vectors: LIMIT }))).toBe("granted");
      for (let i = 0; i < 300; i++) {
        const keyId = i % 2 ? worn : withSerial(worn, 7n);
        expect(await told(stores[0], under(keyId, { key }))).toBe(i % 2 ? "worn_key" : "unknown_key");
      }
      const { remaining, waitMs } = await stores[0].reserve(ask({ key }));
      expect([remaining?.left, waitMs]).toEqual([89, 1000]);
    });

    test("says of an API key that is revoked that it is refused, whatever key the query names", async () => {
      const { stores, setKey } = await make();
      const key = newRecord({ account: "ada" });
      await setKey(key);
      const worn = await stores[0].allocateKey("ada");
      expect(await told(stores[0], under(worn, { key, vectors: LIMIT }))).toBe("granted");
      await setKey({ ...key, revokedAt: NOW });
      for (const keyId of [worn, withSerial(worn, 7n), withSerial(worn, 0n), new Uint8Array(3)]) {
        await expect(stores[0].reserve(under(keyId, { key }))).rejects.toMatchObject({
          code: "unauthorized",
        });
      }
    });

    test("knows no key that it has not made for the account", async () => {
      const { stores } = await make();
      const id = await stores[0].allocateKey("ada");
      await stores[0].allocateKey("bob");
      const bobs = await stores[0].allocateKey("bob");
      const otherEpoch = id.slice();
      otherEpoch[0] ^= 1;
      const strange = [
        bobs,
        otherEpoch,
        ...[0n, 2n, 2n ** 32n + 1n, 2n ** 53n + 1n, 2n ** 64n - 1n].map((serial) => withSerial(id, serial)),
        ...[0, 8, 15, 17].map((length) => new Uint8Array(length)),
      ];
      for (const keyId of strange) {
        expect(await told(stores[0], under(keyId))).toBe("unknown_key");
        expect(await keyIsLive(stores[0], "ada", keyId)).toBe(false);
      }
      expect(await stores[0].keysLeft("ada", [...strange, id], ["any"], LIMIT)).toEqual([
        ...strange.map(() => undefined),
        LIMIT,
      ]);
      expect(await told(stores[0], under(id, { account: "eve" }))).toBe("unknown_key");
      expect(await keyIsLive(stores[0], "ada", id)).toBe(true);
    });

    test("answers a request again for nothing, when the key is worn too", async () => {
      const { stores } = await make();
      const id = await stores[0].allocateKey("ada");
      const request = under(id, { vectors: LIMIT });
      expect(await told(stores[0], request)).toBe("granted");
      for (const store of stores) expect(await told(store, request)).toBe("replayed");
      expect(await told(stores[0], under(id))).toBe("worn_key");
    });

    test("is exact when many ask at once", async () => {
      const { stores } = await make();
      const id = await stores[0].allocateKey("ada");
      const all = await Promise.all(
        Array.from({ length: 40 }, (_, i) => told(stores[i % stores.length], under(id))),
      );
      expect(all.filter((each) => each === "granted")).toHaveLength(LIMIT);
      expect(all.filter((each) => each === "worn_key")).toHaveLength(40 - LIMIT);
    });

    test("of 70 keys of an account the newest 64 can be used, each from nothing, over restarts", async () => {
      const subject = await make();
      const ids: Uint8Array[] = [];
      for (let i = 0; i < 70; i++) {
        ids.push(await subject.stores[0].allocateKey("ada"));
        // Worn at once: its place is another's later.
        expect(await told(subject.stores[0], under(ids[i], { vectors: LIMIT }))).toBe("granted");
        if (i % 20 === 0) await subject.restart();
      }
      await subject.restart();
      const [store] = subject.stores;
      const left = await store.keysLeft("ada", ids, [ask().scope], LIMIT);
      expect(left).toEqual(ids.map((_, i) => (i < 70 - LIVE_KEYS ? undefined : 0)));
      for (const [i, id] of ids.entries()) {
        expect(await told(store, under(id))).toBe(i < 70 - LIVE_KEYS ? "unknown_key" : "worn_key");
        expect(await keyIsLive(store, "ada", id)).toBe(i >= 70 - LIVE_KEYS);
      }
    });

    test("neither windows, nor revoked keys, nor a name that is given again give a key anything back", async () => {
      const subject = await make();
      const perMinute = { vectors: 1000, windowSeconds: 60 };
      let keys = await setBudgets(subject, "ada", [], perMinute);
      const id = await subject.stores[0].allocateKey("ada");
      expect(await told(subject.stores[0], under(id, { vectors: LIMIT }))).toBe("granted");
      for (const nowMs of [NOW + 61_000, NOW + 9e9, NOW - 9e9]) {
        expect(await told(subject.stores[0], under(id, { nowMs }))).toBe("worn_key");
      }
      keys = await setBudgets(subject, "ada", keys, perMinute);
      await subject.restart();
      expect(await told(subject.stores[0], under(id, { key: keys[0] }))).toBe("worn_key");
      expect(serialOf(await subject.stores[0].allocateKey("ada"))).toBe(2n);
    });

    test("whatever is asked, made, restarted and cut off, answers what the model does", {
      timeout: 120_000,
    }, async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(ACTION, { minLength: 10, maxLength: 80 }),
          fc.boolean(),
          async (actions, cuts) => {
            const subject = await make();
            await follow(subject, actions, cuts && subject.losePower !== undefined);
            redis.closeStores();
          },
        ),
        { numRuns: runs },
      );
    });
  },
);

const SCOPES = ["q", "v"];
const BUDGET = { vectors: 45, windowSeconds: 3_600 };

type Ask = { key: number; account: string; scope: string; id: number; vectors: number; step: number };
type Action =
  | ({ type: "ask"; replica: number } & Ask)
  | { type: "race"; asks: Ask[] }
  | { type: "make"; account: string; count: number; replica: number }
  | { type: "restart" | "cut" };

const ASK = fc.record({
  key: fc.nat(11),
  account: fc.constantFrom("ada", "ada", "bob"),
  scope: fc.constantFrom(...SCOPES),
  id: fc.nat(40),
  vectors: fc.integer({ min: 1, max: 6 }),
  step: fc.constantFrom(0, 0, 0, 1000, -1000, 3_700_000, -3_700_000),
});
const ACTION: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.tuple(ASK, fc.nat(1)).map(([each, replica]): Action => ({ type: "ask", ...each, replica })),
  },
  {
    weight: 2,
    arbitrary: fc.array(ASK, { minLength: 2, maxLength: 8 }).map(
      (asks): Action => ({
        type: "race",
        asks: asks.map((each) => ({ ...each, key: asks[0].key, step: 0 })),
      }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant("make" as const),
      account: fc.constantFrom("ada", "ada", "bob"),
      count: fc.constantFrom(1, 1, 2, 30),
      replica: fc.nat(1),
    }),
  },
  { weight: 1, arbitrary: fc.constant<Action>({ type: "restart" }) },
  { weight: 1, arbitrary: fc.constant<Action>({ type: "cut" }) },
);

interface Answer {
  readonly account: string;
  readonly scope: string;
  readonly key: string;
  readonly vectors: number;
  readonly time: number;
}

/** Every key that was made and every answer, of all times. */
class Model {
  readonly made: { readonly account: string; readonly id: Uint8Array; readonly epoch: number }[] = [];
  readonly answers: Answer[] = [];
  readonly seen = new Set<string>();
  epoch = 0;

  isLive(account: string, id: Uint8Array): boolean {
    const own = this.made.filter((each) => each.account === account && each.epoch === this.epoch);
    return own.slice(-LIVE_KEYS).some((each) => toHex(each.id) === toHex(id));
  }

  left(account: string, scope: string, id: Uint8Array): number {
    return LIMIT - sum(this.#of(account, scope).filter(({ key }) => key === toHex(id)));
  }

  budgetLeft(account: string, scope: string, nowMs: number): number {
    const asked = this.#of(account, scope);
    const start = windowOf(this.time(account, scope, nowMs));
    return BUDGET.vectors - sum(asked.filter(({ time }) => time >= start));
  }

  time(account: string, scope: string, nowMs: number): number {
    return Math.max(nowMs, ...this.#of(account, scope).map(({ time }) => time));
  }

  #of(account: string, scope: string): Answer[] {
    return this.answers.filter((each) => each.account === account && each.scope === scope);
  }
}

const sum = (answers: readonly Answer[]) => answers.reduce((total, { vectors }) => total + vectors, 0);
const windowOf = (time: number) => time - (time % (1000 * BUDGET.windowSeconds));

async function follow(subject: StoreSubject, actions: readonly Action[], cuts: boolean): Promise<void> {
  const model = new Model();
  let nowMs = NOW;
  // A loss of power may give budgets back what was not flushed; of keys it gives nothing back.
  if (!cuts) for (const account of ["ada", "bob"]) await setBudgets(subject, account, [], BUDGET);

  const storeAt = (replica: number) => subject.stores[replica % subject.stores.length];
  const make = async (account: string, replica: number) => {
    const id = await storeAt(replica).allocateKey(account);
    expect(model.made.some((each) => each.account === account && toHex(each.id) === toHex(id))).toBe(false);
    model.made.push({ account, id, epoch: model.epoch });
  };
  /** Mostly one of the latest keys, whosever it is; one of the first at times. */
  const keyOf = (key: number) => {
    const at = key < 9 ? model.made.length - 1 - key : 5 * (key - 9);
    return model.made[Math.min(Math.max(0, at), model.made.length - 1)].id;
  };
  const requestOf = ({ key, account, scope, id, vectors }: Ask): Reservation & { name: string } => {
    const keyId = keyOf(key);
    const place = model.made.findIndex((each) => toHex(each.id) === toHex(keyId));
    // As Meter has it: the same bytes under another key are another request.
    const digest = digestOf(64 * place + id);
    return {
      ...under(keyId, { account, scope, digest, vectors, nowMs }),
      name: `${account} ${scope} ${toHex(keyId)} ${id}`,
    };
  };
  const keep = ({ account, scope, vectors, keyUse, name }: ReturnType<typeof requestOf>) => {
    const key = toHex(keyUse!.keyId);
    model.answers.push({ account, scope, key, vectors, time: model.time(account, scope, nowMs) });
    model.seen.add(name);
    expect(model.left(account, scope, keyUse!.keyId)).toBeGreaterThanOrEqual(0);
  };
  const asks = async (action: Ask, replica: number) => {
    const request = requestOf(action);
    const { account, scope, vectors, name } = request;
    const { keyId } = request.keyUse!;
    let expected = "granted";
    if (!model.isLive(account, keyId)) expected = "unknown_key";
    else if (model.seen.has(name)) expected = "replayed";
    else if (vectors > model.left(account, scope, keyId)) expected = "worn_key";
    else if (!cuts && vectors > model.budgetLeft(account, scope, nowMs)) expected = "no budget";
    expect(await told(storeAt(replica), request)).toBe(expected);
    if (expected === "granted") keep(request);
  };
  const race = async (actions: readonly Ask[]) => {
    const requests = actions.map(requestOf);
    const all = await Promise.all(requests.map((request, i) => told(storeAt(i), request)));
    for (const [i, request] of requests.entries()) if (all[i] === "granted") keep(request);
    // Whoever was refused would be refused now: what others took was never given back.
    for (const [i, request] of requests.entries()) {
      if (all[i] !== "worn_key") continue;
      const { account, scope, keyUse, vectors, name } = request;
      if (!model.seen.has(name)) expect(model.left(account, scope, keyUse!.keyId)).toBeLessThan(vectors);
    }
  };

  await make("ada", 0);
  await make("bob", 0);
  for (const action of actions) {
    if (action.type === "make") {
      for (let i = 0; i < action.count; i++) await make(action.account, action.replica);
    } else if (action.type === "ask") {
      nowMs += action.step;
      await asks(action, action.replica);
    } else if (action.type === "race") {
      await race(action.asks);
    } else if (action.type === "restart") {
      await subject.restart();
    } else if (cuts) {
      await subject.losePower!();
      model.epoch++;
    }
  }
  for (const account of ["ada", "bob"]) {
    const ids = model.made.map(({ id }) => id);
    const left = ids.map((id) =>
      model.isLive(account, id)
        ? Math.min(...SCOPES.map((scope) => model.left(account, scope, id)))
        : undefined,
    );
    expect(await storeAt(1).keysLeft(account, ids, SCOPES, LIMIT)).toEqual(left);
  }
}
