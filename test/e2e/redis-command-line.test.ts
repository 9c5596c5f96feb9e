/** `tacet keys` and `tacet provider` with --redis: TLS, passwords, and what is refused; no password is ever shown. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../support/free-port.ts";
import { temporaryFolder } from "../support/models.ts";
import { NO_REDIS, type RedisServer, startRedis, stopRedisServers } from "../support/redis-server.ts";
import { tinyBundle } from "../support/tiny-bundle.ts";
import { runTacet } from "../support/tacet-process.ts";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const PASSWORD = "open-sesame-42";
const NO_OPENSSL =
  spawnSync("openssl", ["version"]).status === 0 ? false : " (skipped: openssl is not installed)";
const MISSING = NO_REDIS || NO_OPENSSL;
const folder = temporaryFolder();
const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(folder.path, name));
const state = join(folder.path, "state");
let redis: RedisServer;
let tlsPort: number;

async function tacet(args: readonly string[], env: Record<string, string> = {}) {
  const result = await runTacet(args, { env: { ...process.env, NO_COLOR: "1", ...env } });
  expect(result.stdout + result.stderr).not.toContain("sesame");
  return result;
}

describe.skipIf(MISSING)(`--redis${MISSING || ""}`, () => {
  beforeAll(async () => {
    const made = spawnSync("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
      ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
    ]);
    expect(made.status).toBe(0);
    tlsPort = await freePort();
    const tls = ["--tls-port", String(tlsPort), "--tls-cert-file", cert, "--tls-key-file", key];
    const bundle = await tinyBundle();
    mkdirSync(state);
    writeFileSync(join(state, "bundle.safetensors"), bundle.bundle);
    writeFileSync(join(state, "private.safetensors"), bundle.privateState);
    redis = await startRedis({ args: [...tls, "--tls-auth-clients", "no", "--requirepass", PASSWORD] });
  });
  afterAll(async () => {
    await stopRedisServers();
    folder.remove();
  });

  it("makes, lists and revokes keys over TLS, with the password of the URL or of the environment", async () => {
    const url = `rediss://localhost:${tlsPort}`;
    const trust = { NODE_EXTRA_CA_CERTS: cert };
    const withPassword = url.replace("//", `//:${PASSWORD}@`);
    const made = await tacet(
      ["keys", "create", "--redis", withPassword, "--budget", "7/day", "--json"],
      trust,
    );
    expect(made.code).toBe(0);
    const { id, key: secret } = JSON.parse(made.stdout);
    const env = { ...trust, TACET_REDIS_URL: url, TACET_REDIS_PASSWORD: PASSWORD };
    expect(await tacet(["keys", "revoke", id], env)).toMatchObject({ code: 0, stdout: `revoked ${id}\n` });
    const listed = await tacet(["keys", "list", "--json"], env);
    expect(JSON.parse(listed.stdout).keys).toMatchObject([{ id, state: "revoked", asked: 0, left: 7 }]);
    expect(listed.stdout).not.toContain(secret.slice(6));
    const apart = await tacet(["keys", "list", "--redis-prefix", "other:"], env);
    expect(apart).toMatchObject({ code: 0, stdout: "no keys\n" });
    const stranger = await tacet(["keys", "list"], { ...env, NODE_EXTRA_CA_CERTS: "" });
    expect(stranger.code).toBe(5);
    expect(stranger.stderr).toMatch(/the Redis server at localhost:\d+ can't be used \(\w*SELF_SIGNED\w*\)/);
  });

  const provider = ["provider", "--state", "s", "--redis", `redis://:${PASSWORD}@127.0.0.1:1`];
  it.each<[readonly string[], Record<string, string>, number, RegExp]>([
    [["keys", "list"], {}, 2, /--data or --redis is missing/],
    [["keys", "list", "--data", "d", "--redis", "redis://h"], {}, 2, /exclude each other/],
    [["keys", "list", "--redis", `http://:${PASSWORD}@h`], {}, 2, /--redis must be a URL/],
    [
      ["keys", "list", "--redis", `redis://:${PASSWORD}@127.0.0.1:1`],
      {},
      5,
      /127\.0\.0\.1:1 can't be used \(ECONNREFUSED\)/,
    ],
    [[...provider, "--data", "d"], {}, 2, /--redis and --data exclude each other/],
    [[...provider, "--unmetered"], {}, 2, /--redis and --unmetered exclude each other/],
    [[...provider, "--durability", "power"], {}, 2, /--durability is for --data/],
  ])("%j is refused", async (args, env, code, message) => {
    const result = await tacet(args, { TACET_REDIS_URL: "", ...env });
    expect(result).toMatchObject({ code, stdout: "" });
    expect(result.stderr).toMatch(message);
  });

  it("a server that may evict counts is refused, by provider and keys alike", async () => {
    const evicting = await startRedis({ args: ["--maxmemory-policy", "allkeys-random"] });
    for (const args of [
      ["keys", "create", "--budget", "5", "--redis", evicting.url],
      ["provider", "--state", state, "--port", "0", "--redis", evicting.url],
    ]) {
      const { code, stdout, stderr } = await tacet(args);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).toMatch(/^error: the Redis server may evict .*allkeys-random.*\nhint: .*noeviction/m);
    }
    await evicting.stop();
  });

  it("a server without a disk is warned of in the provider's log", async () => {
    const env = { ...process.env, TACET_REDIS_PASSWORD: PASSWORD };
    const args = [MAIN, "provider", "--state", state, "--port", "0", "--redis", redis.url];
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    let log = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    child.kill("SIGTERM");
    await new Promise((resolve) => child.once("close", resolve));
    expect(log).toMatch(/"level":40,.*"type":"redis-server","msg":"the Redis server keeps nothing on a disk/);
    expect(log).not.toContain("sesame");
  });

  it("a wrong password is refused by its reason", async () => {
    const { code, stderr } = await tacet(["keys", "list"], {
      TACET_REDIS_URL: redis.url,
      TACET_REDIS_PASSWORD: "wrong-sesame",
    });
    expect(code).toBe(5);
    expect(stderr).toMatch(/\(WRONGPASS\)/);
  });
});
