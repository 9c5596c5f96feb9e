/**
 * Two providers, a real Redis server and a real nginx with the configuration that is shipped: what a client notices
 * when one of them goes away, and that keys and budgets are one provider's.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toHex } from "../../src/base/bytes.ts";
import type { Platform } from "../../src/base/platform.ts";
import type { ConnectOptions } from "../../src/client/connect-options.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { connectRedis, nodePlatform } from "../../src/platform/node.ts";
import { hashApiKey } from "../../src/provider/api-keys.ts";
import { RedisStore } from "../../src/provider/redis-store.ts";
import { decodeClientFrame } from "../../src/wire/frames.ts";
import { ByteSearch } from "../support/byte-search.ts";
import { freePort } from "../support/free-port.ts";
import { goldenModel, goldenOf, greedyIds, type TestModel, temporaryFolder } from "../support/models.ts";
import { NO_NGINX, startNginx } from "../support/nginx.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";
import { NO_REDIS, type RedisServer, startRedis, stopRedisServers } from "../support/redis-server.ts";
import { runTacet } from "../support/tacet-process.ts";

const NAME = "llama-f32";
const CLIENTS = 4;
const ROUNDS = 2;
const PATIENCE_MS = 20_000;
const MISSING = NO_REDIS || NO_NGINX;
const REDIS_ARGS = ["--appendonly", "yes", "--appendfsync", "always", "--rdbcompression", "no"];
const OPTIONS = { maxNewTokens: 16, eosIds: [] };
const want = goldenOf(NAME);
const folder = temporaryFolder();
const state = join(folder.path, "state");
let test: TestModel;
let redis: RedisServer;
let nginx: Awaited<ReturnType<typeof startNginx>>;
const providers: ProviderProcess[] = [];
const statusPorts: number[] = [];

async function start(i: number): Promise<void> {
  const args = ["--redis", redis.url, "--trust-proxy", "--metrics-port", String(statusPorts[i])];
  providers[i] = await startProvider(state, { port: providers[i]?.port ?? 0, args });
}

async function tacet(...args: string[]): Promise<string> {
  const env = { ...process.env, TACET_REDIS_URL: redis.url, NO_COLOR: "1" };
  const { code, stdout } = await runTacet(args, { env });
  expect(code).toBe(0);
  return stdout;
}
const createKey = async (...more: string[]): Promise<{ key: string; id: string }> =>
  JSON.parse(await tacet("keys", "create", "--json", ...more));

/** A platform that notes the vectors of each distinct query it sends, by group. */
function counting(): { platform: Platform; asked(): number[] } {
  const queries = new Map<string, { group: number; vectors: number }>();
  const platform = nodePlatform();
  return {
    platform: {
      ...platform,
      async connect(url, options) {
        const socket = await platform.connect(url, options);
        const { send } = socket;
        socket.send = (message) => {
          const frame = decodeClientFrame(message, 1 << 26);
          if (frame.case === "query") {
            const { group, vectors, ciphertext } = frame.value;
            queries.set(`${group} ${toHex(ciphertext)}`, { group, vectors });
          }
          send.call(socket, message);
        };
        return socket;
      },
    },
    asked() {
      const sums = new Map<number, number>();
      for (const { group, vectors } of queries.values()) sums.set(group, (sums.get(group) ?? 0) + vectors);
      return [...sums.values()].sort((a, b) => a - b);
    },
  };
}

const open = (url: string, token: string, more: Partial<ConnectOptions> = {}, platform = nodePlatform()) =>
  openPrivateModel(platform, { base: test.checkpoint, provider: url, token, ...more });

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const start = Date.now(); !(await holds()); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() - start > PATIENCE_MS) throw new Error(`it does not hold: ${holds}`);
  }
}
const readiness = async (i: number) => (await fetch(`http://127.0.0.1:${statusPorts[i]}/readyz`)).status;

describe.skipIf(MISSING)(`replicas${MISSING || ""}`, () => {
  beforeAll(async () => {
    test = await goldenModel(NAME);
    await test.writeState(state);
    redis = await startRedis({ folder: join(folder.path), args: REDIS_ARGS });
    for (const i of [0, 1]) {
      statusPorts[i] = await freePort();
      await start(i);
    }
    nginx = await startNginx(providers.map(({ port }) => port));
  });
  afterAll(async () => {
    await nginx?.stop();
    await stopProviders();
    await stopRedisServers();
    folder.remove();
  });

  it("one is killed under load: every answer stays the same, and what is charged is what was asked", async () => {
    const { key, id } = await createKey("--budget", "100000");
    const count = counting();
    const models = await Promise.all(
      Array.from({ length: CLIENTS }, () => open(nginx.url, key, { reconnectMs: 20_000 }, count.platform)),
    );
    const welcomed = providers.map(({ log }) => log().match(/"type":"welcomed"/g)?.length ?? 0);
    expect(Math.min(...welcomed)).toBeGreaterThan(0);
    const asked = Math.max(...count.asked(), 0);
    const load = Promise.all(
      models.map(async (model) => {
        const all: number[][] = [];
        for (let round = 0; round < ROUNDS; round++)
          all.push(await greedyIds(model.model, want.input_ids, OPTIONS));
        return all;
      }),
    );
    await until(() => Math.max(...count.asked(), 0) > asked + 2 * want.input_ids.length);
    await providers[0].kill("SIGKILL");
    for (const ids of (await load).flat()) expect(ids).toEqual(want.greedy_ids_adapter);
    await Promise.all(models.map((model) => model.close()));

    const store = await RedisStore.open(await connectRedis({ url: redis.url }));
    const charged = (await store.usage([id])).map(({ total }) => total).sort((a, b) => a - b);
    store.close();
    expect(charged).toEqual(count.asked());
    const [listed] = JSON.parse(await tacet("keys", "list", "--json")).keys;
    expect(listed).toMatchObject({ id, asked: Math.max(...charged), left: 100_000 - Math.max(...charged) });
    await start(0);
  });

  it("a budget is spent once, whichever replica is asked", async () => {
    const { key } = await createKey("--budget", String(want.input_ids.length + 3));
    const models = await Promise.all(providers.map(({ url }) => open(url, key)));
    const spent = await Promise.allSettled(
      models.map((model) => greedyIds(model.model, want.input_ids, OPTIONS)),
    );
    for (const result of spent) {
      expect(result).toMatchObject({ status: "rejected", reason: { code: "budget_exhausted" } });
    }
    await Promise.all(models.map((model) => model.close()));
  });

  it("a key that is revoked is refused by all, and its idle connections are closed", async () => {
    const { key, id } = await createKey("--budget", "5000");
    const models = await Promise.all(providers.map(({ url }) => open(url, key, { reconnectMs: 0 })));
    const closed = () =>
      providers.map(({ log }) => log().match(/"type":"closed".*"code":1008/g)?.length ?? 0);
    const before = closed();
    await tacet("keys", "revoke", id);
    // Not a moment later: what is asked now is refused, at each.
    for (const model of models) {
      await expect(greedyIds(model.model, want.input_ids, OPTIONS)).rejects.toMatchObject({
        code: expect.stringMatching(/^(unauthorized|connection_lost)$/),
      });
    }
    for (const { url } of providers) {
      await expect(open(url, key, { reconnectMs: 0 })).rejects.toMatchObject({ code: "unauthorized" });
    }
    await until(() => closed().every((count, i) => count > before[i]));
    await Promise.all(models.map((model) => model.close()));
  });

  it("without Redis nothing is answered and nobody is ready; when it is back, answers go on", async () => {
    const { key } = await createKey("--budget", "100000");
    const [patient, hasty] = [
      await open(nginx.url, key, { reconnectMs: 30_000 }),
      await open(nginx.url, key, { reconnectMs: 0 }),
    ];
    expect(await Promise.all([0, 1].map(readiness))).toEqual([200, 200]);
    await redis.kill();
    await until(async () => (await Promise.all([0, 1].map(readiness))).every((status) => status === 503));
    await expect(greedyIds(hasty.model, want.input_ids, OPTIONS)).rejects.toMatchObject({
      code: "unavailable",
    });
    await expect(open(nginx.url, key, { reconnectMs: 0 })).rejects.toMatchObject({ code: "unavailable" });
    const waiting = greedyIds(patient.model, want.input_ids, OPTIONS);
    redis = await startRedis({ port: redis.port, folder: redis.folder, args: REDIS_ARGS });
    expect(await waiting).toEqual(want.greedy_ids_adapter);
    await until(async () => (await Promise.all([0, 1].map(readiness))).every((status) => status === 200));
    expect(await greedyIds(hasty.model, want.input_ids, OPTIONS)).toEqual(want.greedy_ids_adapter);
    await Promise.all([patient, hasty].map((model) => model.close()));
  });

  it("a stolen database holds no key, nor does any log", async () => {
    const { key, id } = await createKey("--budget", "5000", "--label", "to be stolen");
    const model = await open(nginx.url, key);
    await greedyIds(model.model, want.input_ids, { ...OPTIONS, maxNewTokens: 2 });
    await model.close();
    const link = await connectRedis({ url: redis.url });
    await link.send(["SAVE"]);
    link.close();
    const names = readdirSync(redis.folder, { recursive: true, encoding: "utf8" }).filter((name) =>
      /\.(rdb|aof)$/.test(name),
    );
    expect(names.length).toBeGreaterThan(1);
    const files = new ByteSearch(names.map((name) => readFileSync(join(redis.folder, name))));
    expect(files.includes(id) && files.includes("to be stolen") && files.includes(hashApiKey(key))).toBe(
      true,
    );
    const hex = key.slice("tacet_".length);
    const raw = Buffer.from(hex, "hex");
    const logs = new ByteSearch(providers.map(({ log }) => Buffer.from(log())));
    for (const secret of [
      key,
      hex,
      hex.toUpperCase(),
      raw,
      raw.toString("base64"),
      raw.toString("base64url"),
    ]) {
      for (const text of [secret, Buffer.from(secret.toString(), "utf16le")]) {
        expect(files.includes(text) || logs.includes(text)).toBe(false);
      }
    }
    // Of the key's text in base64 the middle, whatever stands before it.
    for (const pad of ["", "x", "xx"]) {
      expect(
        files.includes(
          Buffer.from(pad + key)
            .toString("base64")
            .slice(4, 60),
        ),
      ).toBe(false);
    }
    expect(logs.includes(redis.url)).toBe(false);
  });
});
