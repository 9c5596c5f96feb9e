/** Encryption threads as Node has them: dist's own script, scripts that end or cannot be loaded, and a process's end. */
import { execFile } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, expect, it, vi } from "vitest";
import { EncryptionThreads } from "../../src/client/encryption/encryption-threads.ts";
import { nodeEncryption } from "../../src/platform/node/threads.ts";
import { DEFAULT_PARAMETERS } from "../../src/rlwe/parameters.ts";
import { gaussianSource, makeLayer, worstError } from "../support/pll-layer.ts";
import { temporaryFolder } from "../support/models.ts";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const SCRIPT = pathToFileURL(join(DIST, "library/node-encryption-thread.js"));
const [ROWS, N] = [3, 300];
const layers = { bundleId: new Uint8Array(16), parameters: DEFAULT_PARAMETERS, inFeatures: [N] };
const folder = temporaryFolder();
const opened: EncryptionThreads[] = [];

afterEach(() => {
  for (const threads of opened.splice(0)) threads.dispose();
});
afterAll(() => folder.remove());

function open(script: URL): EncryptionThreads {
  const threads = new EncryptionThreads({ ...nodeEncryption(script), cores: 4 }, layers);
  opened.push(threads);
  return threads;
}

/** A script that answers as ours does, but for what `onJob` does with a job. */
function scriptOf(name: string, onJob: string): URL {
  const path = join(folder.path, `${name}.mjs`);
  const serve = pathToFileURL(join(DIST, "client/encryption/serve-encryption.js")).href;
  writeFileSync(
    path,
    `import { parentPort } from "node:worker_threads";
    import { serveEncryption } from ${JSON.stringify(serve)};
    const receive = serveEncryption((message, transfer) => parentPort.postMessage(message, [...transfer]));
    parentPort.on("message", (message) => {
      if (message.type === "job") { ${onJob} }
      receive(message);
    });`,
  );
  return pathToFileURL(path);
}

it("threads of their own make queries that a layer recovers the results of", async () => {
  expect(existsSync(SCRIPT)).toBe(true);
  const threads = open(SCRIPT);
  await vi.waitFor(() => expect(threads.start()).toBe(2), { timeout: 30_000 });
  const real = Float64Array.from({ length: ROWS * N }, gaussianSource(7));
  const { client, provider, secret, key } = makeLayer(real, ROWS, N);
  const x = Float32Array.from({ length: 96 * N }, gaussianSource(8));
  for (let round = 0; round < 5; round++) {
    const made = await Promise.all(threads.share(0, x, [32, 32, 32]));
    expect(made.filter((query) => query !== undefined)).toHaveLength(2);
    for (const [i, query] of made.entries()) {
      if (!query) continue;
      const taken = client.takeIn(query);
      threads.giveBack(query);
      const reply = provider.answerQuery(secret, taken.bytes, 32);
      client.applyKey(taken, key);
      const part = x.subarray(i * 32 * N, (i + 1) * 32 * N);
      expect(worstError(real, part, client.recoverResult(taken, reply), ROWS, N)).toBeLessThan(2 ** -6);
    }
  }
  expect(threads.status).toEqual({ threads: 2 });
});

it.each([
  ["throws", 'throw new Error("what it worked on");', /^a thread failed \(Error\)$/],
  ["exits", "process.exit(3);", /^a thread ended with 3$/],
  ["takes too much memory", "new Array(2 ** 32);", /^a thread failed \(RangeError\)$/],
])("a thread that %s leaves its job to the client's", async (name, onJob, reason) => {
  const threads = open(scriptOf(name.replaceAll(" ", "-"), onJob));
  await vi.waitFor(() => expect(threads.start()).toBe(2), { timeout: 30_000 });
  const shared = threads.share(0, new Float32Array(96 * N).fill(1), [32, 32, 32]);
  expect(await Promise.all(shared)).toEqual([undefined, undefined, undefined]);
  expect(shared.filter((made) => made !== undefined)).toHaveLength(2);
  expect(threads.status).toEqual({ threads: 0, reason: expect.stringMatching(reason) });
});

it("without its script there are no threads, and it says why", async () => {
  const threads = open(pathToFileURL(join(folder.path, "missing.mjs")));
  await vi.waitFor(() => {
    threads.start();
    expect(threads.status).toEqual({
      threads: 0,
      reason: "a thread failed (MODULE_NOT_FOUND)",
    });
  });
});

/** Writes a program that has `threads`, and does with them what `body` says. */
function programWithThreads(name: string, body: string): string {
  const program = join(folder.path, name);
  const url = (path: string) => JSON.stringify(pathToFileURL(join(DIST, path)).href);
  writeFileSync(
    program,
    `import { EncryptionThreads } from ${url("client/encryption/encryption-threads.js")};
    import { nodePlatform } from ${url("platform/node.js")};
    import { DEFAULT_PARAMETERS } from ${url("rlwe/parameters.js")};
    const layers = { bundleId: new Uint8Array(16), parameters: DEFAULT_PARAMETERS, inFeatures: [64] };
    const threads = new EncryptionThreads({ ...nodePlatform().encryption, cores: 2 }, layers);
    ${body}`,
  );
  return program;
}

it("a process that may not start threads makes all in its own, and says why", async () => {
  const program = programWithThreads(
    "refused.mjs",
    `const shared = threads.share(0, new Float32Array(64 * 64).fill(1), [32, 32]);
    await new Promise((resolve) => setImmediate(resolve));
    console.log(JSON.stringify({ shared: shared.map((made) => made ?? null), ...threads.status }));`,
  );
  // Node 20 has the older name alone, later ones may take it away.
  const permission = process.allowedNodeEnvironmentFlags.has("--permission")
    ? "--permission"
    : "--experimental-permission";
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [permission, "--allow-fs-read=*", "--allow-addons", program],
    { timeout: 60_000 },
  );
  expect(JSON.parse(stdout)).toEqual({
    shared: [null, null],
    threads: 0,
    reason: "this process can't start threads (ERR_ACCESS_DENIED)",
  });
});

it("an idle thread does not keep a process alive, nor does one that is at work", async () => {
  const program = programWithThreads(
    "idle.mjs",
    `while (threads.start() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const [made] = threads.share(0, new Float32Array(64 * 64).fill(1), [32, 32]);
    const waiting = setTimeout(() => {}, 60_000);
    console.log((await made).vectors);
    clearTimeout(waiting);`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [program], { timeout: 60_000 });
  expect(stdout).toBe("32\n");
});
