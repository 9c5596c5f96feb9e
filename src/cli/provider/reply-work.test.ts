/** What a worker thread does: the same as the provider's own thread, and no seed stays with it. */
import { beforeAll, expect, it } from "vitest";
import { tinyBundle } from "../../../test/support/tiny-bundle.ts";
import { bundleIdBytes } from "../../bundle/manifest.ts";
import { type ComputedReply, loadServedAdapter, type ServedAdapter } from "../../provider/provider.ts";
import { memoryFileTree } from "../../weights/memory-files.ts";
import { ThreadedReplyPool, type WorkerRequest } from "./reply-pool.ts";
import { ReplyWork } from "./reply-work.ts";

const SEEDS = [1, 2].map((byte) => new Uint8Array(32).fill(byte));
let served: ServedAdapter;
let work: ReplyWork;

beforeAll(async () => {
  const { bundle, privateState } = await tinyBundle();
  const files = { "bundle.safetensors": bundle, "private.safetensors": privateState };
  served = await loadServedAdapter(memoryFileTree(files, "state"));
  const { bundle: loaded, keySigningKey, layers } = served;
  const adapter = {
    bundleId: bundleIdBytes(loaded.manifest),
    bundleDigest: loaded.digest,
    keySigningKey,
    layers: layers.map((layer) => layer.copyInput()),
  };
  work = new ReplyWork([adapter]);
});

const query = () => new Uint8Array(2 * served.layers[0].queryBytes).fill(85);
const ask = (change: Partial<WorkerRequest> = {}): WorkerRequest =>
  ({
    ...{ adapter: 0, group: 0, name: "a", seed: SEEDS[0].slice(), vectors: 2, query: query() },
    ...change,
  }) as WorkerRequest;
const wordsOf = (request: WorkerRequest) => (work.do(request)[0] as ComputedReply | null)?.words;

/** S·v of a seed, computed here. */
function expected(seed: Uint8Array): Uint8Array {
  const [layer] = served.layers;
  const secret = layer.deriveSecret(seed);
  const words = layer.answerQuery(secret, query(), 2);
  layer.releaseSecret(secret);
  return words;
}

it("answers as the layer does, and knows a key by its name alone", () => {
  expect(wordsOf(ask())).toEqual(expected(SEEDS[0]));
  expect(work.secrets.count).toBe(1);
  // The seed is asked where nothing is held under the name.
  expect(wordsOf(ask({ seed: SEEDS[1].slice() }))).toEqual(expected(SEEDS[0]));
  expect(wordsOf(ask({ seed: SEEDS[1].slice(), name: "b" }))).toEqual(expected(SEEDS[1]));
  expect(work.secrets.count).toBe(2);
  work.secrets.forget({ name: "a", group: 0 });
  expect(wordsOf(ask({ seed: SEEDS[1].slice() }))).toEqual(expected(SEEDS[1]));
});

it("wipes the seed that it was given, also where it fails", () => {
  const keyPart = { keyId: new Uint8Array(16), before: [], mark: undefined };
  const requests = [
    ask(),
    ask({ query: new Uint8Array(3) }),
    ask({ adapter: 7 }),
    ask(keyPart),
    // The last one, without those before it.
    ask({ ...keyPart, group: 1 }),
  ];
  const replies = requests.map((request) => work.do(request)[0] === null);
  expect(replies).toEqual([false, true, true, false, true]);
  for (const { seed } of requests) expect(seed).toEqual(new Uint8Array(32));
});

it("a seed that no worker takes is wiped", async () => {
  const pool = new ThreadedReplyPool(0, [served], () => {});
  const seeds: Uint8Array[] = [];
  const key = {
    name: "a",
    group: 0,
    seed() {
      seeds.push(SEEDS[0].slice());
      return seeds[seeds.length - 1];
    },
  };
  const place = { adapter: served, group: 0, key };
  await expect(pool.compute({ ...place, vectors: 2, query: query() })).rejects.toThrow(RangeError);
  const part = { ...place, keyId: new Uint8Array(16), before: [] };
  await expect(pool.makeKeyPart(part)).rejects.toThrow(RangeError);
  const marked = { ...key, mark: () => expect.unreachable() };
  await expect(pool.makeKeyPart({ ...part, key: marked })).rejects.toThrow();
  for (const seed of seeds) expect(seed).toEqual(new Uint8Array(32));
});
