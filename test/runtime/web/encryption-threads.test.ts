/** Encryption threads in a browser: real module workers. */
import { afterEach, expect, it, vi } from "vitest";
import { EncryptionThreads } from "../../../src/client/encryption/encryption-threads.ts";
import { webEncryption } from "../../../src/platform/web/threads.ts";
import { DEFAULT_PARAMETERS } from "../../../src/rlwe/parameters.ts";
import { gaussianSource, makeLayer, worstError } from "../../support/pll-layer.ts";

const [ROWS, N] = [3, 300];
const layers = { bundleId: new Uint8Array(16), parameters: DEFAULT_PARAMETERS, inFeatures: [N] };
const opened: EncryptionThreads[] = [];

afterEach(() => {
  vi.unstubAllGlobals();
  for (const threads of opened.splice(0)) threads.dispose();
});

function open(): EncryptionThreads {
  const threads = new EncryptionThreads({ ...webEncryption(), cores: 2 }, layers);
  opened.push(threads);
  return threads;
}

it("a worker makes queries that a layer recovers the results of", async () => {
  const threads = open();
  await vi.waitFor(() => expect(threads.start(), threads.status.reason).toBe(1), { timeout: 30_000 });
  const real = Float64Array.from({ length: ROWS * N }, gaussianSource(7));
  const { client, provider, secret, key } = makeLayer(real, ROWS, N);
  const x = Float32Array.from({ length: 64 * N }, gaussianSource(8));
  const seen = new Set<string>();
  for (let round = 0; round < 5; round++) {
    const [made, own] = threads.share(0, x, [32, 32]);
    expect(own).toBeUndefined();
    const query = (await made!)!;
    const taken = client.takeIn(query);
    threads.giveBack(query);
    for (let t = 0; t < 32; t++) seen.add(taken.bytes.subarray(t * 4550, (t + 1) * 4550).join());
    const reply = provider.answerQuery(secret, taken.bytes, 32);
    client.applyKey(taken, key);
    const y = client.recoverResult(taken, reply);
    expect(worstError(real, x.subarray(0, 32 * N), y, ROWS, N)).toBeLessThan(2 ** -6);
  }
  expect(seen.size).toBe(5 * 32);
  expect(threads.status).toEqual({ threads: 1 });
});

it.each([
  ["cannot be loaded", "a thread's script could not be loaded, or failed"],
  ["are forbidden", "this page can't start threads"],
])("where workers %s, the client's thread makes all, and it says why", async (what, reason) => {
  type Start = new (url: string, options: unknown) => object;
  const { Worker: Real } = globalThis as unknown as { readonly Worker: Start };
  vi.stubGlobal(
    "Worker",
    class {
      constructor(_url: unknown, options: unknown) {
        if (what === "are forbidden") throw new DOMException("no", "SecurityError");
        // biome-ignore lint/correctness/noConstructorReturn: a worker of a script that is not there
        return new Real("/not-there.js", options);
      }
    },
  );
  const threads = open();
  await vi.waitFor(
    () => {
      threads.start();
      expect(threads.status).toEqual({ threads: 0, reason });
    },
    { timeout: 30_000 },
  );
  expect(threads.share(0, new Float32Array(64 * N), [32, 32])).toEqual([undefined, undefined]);
});
