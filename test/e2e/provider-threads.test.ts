/** With worker threads: the same keys and words, every vector charged once, short queries in between, an orderly end. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { changeKeys, readUsage } from "../../src/library/node-data-folder.ts";
import { nodeFileTree } from "../../src/platform/node.ts";
import { createApiKey } from "../../src/provider/api-keys.ts";
import { groupKeyOf } from "../../src/provider/group-keys.ts";
import { loadServedAdapter } from "../../src/provider/provider.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { decodeProviderFrame, encodeClientFrame, PROTOCOL_VERSION } from "../../src/wire/frames.ts";
import { temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { tallBundle } from "../support/tiny-bundle.ts";

const folder = temporaryFolder();
const [state, data] = [join(folder.path, "state"), join(folder.path, "data")];
/** Short ones, of one part, of several. */
const LENGTHS = [1, 40, 1, 200, 2, 64, 65, 1, 129, 1];
const ROUNDS = 3;
/** As many as an account gets at once: enough for all vectors. */
const KEYS = 8;

afterAll(async () => {
  await stopProviders();
  folder.remove();
});

it("answers as one thread does", { timeout: 60_000 }, async () => {
  const made = await tallBundle();
  mkdirSync(state);
  writeFileSync(join(state, "bundle.safetensors"), made.bundle);
  writeFileSync(join(state, "private.safetensors"), made.privateState);
  const adapter = await loadServedAdapter(nodeFileTree(state));
  const [layer] = adapter.layers;
  const total = ROUNDS * LENGTHS.reduce((sum, length) => sum + length, 0);
  const budget = { vectors: total + 1_000, windowSeconds: 0 };
  const { key, record } = createApiKey({ budget }, Date.now(), systemRandom);
  await changeKeys(data, () => [record]);
  const provider = await startProvider(state, { args: ["--data", data, "--threads", "2"] });

  const socket = new WebSocket(provider.url);
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  await new Promise((resolve) => socket.once("open", resolve));
  const keys: { readonly weights: Uint8Array; readonly hint: Uint8Array }[] = [];
  const keyIds: Uint8Array[] = [];
  const answers = new Map<number, { words: Uint8Array; left: number }>();
  socket.on("message", (message: Buffer) => {
    const frame = decodeProviderFrame(new Uint8Array(message), 64 << 20);
    if (frame.case === "keyPart") keys.push(frame.value);
    if (frame.case === "keyMade") keyIds.push(frame.value.keyId);
    if (frame.case !== "answer") return;
    const { id, words, vectorsLeft } = frame.value;
    answers.set(id, { words, left: Number(vectorsLeft) });
  });
  const baseFingerprint = new Uint8Array(32).fill(0x5a);
  const hello = { version: PROTOCOL_VERSION, token: key, baseFingerprint };
  socket.send(encodeClientFrame({ case: "hello", value: hello }));
  for (let id = 1; id <= KEYS; id++) socket.send(encodeClientFrame({ case: "fetchKey", value: { id } }));
  while (keys.length < KEYS) await new Promise((resolve) => setTimeout(resolve, 2));
  const seedOf = (keyId: Uint8Array) => groupKeyOf(adapter, record.account, keyId, 0).seed();
  for (const [i, keyId] of keyIds.entries()) {
    const { weights, hint } = layer.encryptWeights(seedOf(keyId));
    expect(Buffer.compare(keys[i].weights, weights), `key ${i}`).toBe(0);
    expect(Buffer.compare(keys[i].hint, hint), `key ${i}`).toBe(0);
  }
  const left = keyIds.map(() => adapter.bundle.manifest.parameters.vectorsPerKey);
  const asked = Array.from({ length: ROUNDS * LENGTHS.length }, (_, i) => {
    const vectors = LENGTHS[i % LENGTHS.length];
    const fitting = left.findIndex((each) => each >= vectors);
    left[fitting] -= vectors;
    const ciphertext = new Uint8Array(vectors * layer.queryBytes);
    for (let at = 0; at < ciphertext.length; at += 65_536) {
      crypto.getRandomValues(ciphertext.subarray(at, at + 65_536));
    }
    return { id: i + 1, group: 0, vectors, ciphertext, keyId: keyIds[fitting] };
  });
  for (const value of asked) socket.send(encodeClientFrame({ case: "query", value }));
  // The last that is asked is open when the end comes: it is answered all the same.
  while (answers.size < asked.length - 5) await new Promise((resolve) => setTimeout(resolve, 2));
  await provider.kill("SIGTERM");
  expect(await closed).toBe(1001);
  expect(provider.exitCode()).toBe(0);
  expect(answers.size).toBe(asked.length);
  const secrets = new Map(keyIds.map((keyId) => [keyId, layer.deriveSecret(seedOf(keyId))]));
  for (const { id, vectors, ciphertext, keyId } of asked) {
    const words = layer.answerQuery(secrets.get(keyId)!, ciphertext, vectors);
    expect(Buffer.compare(answers.get(id)?.words ?? new Uint8Array(), words), `query ${id}`).toBe(0);
  }
  expect(Math.min(...[...answers.values()].map(({ left }) => left))).toBe(1_000);
  expect(readUsage(data).usage()).toMatchObject([{ total }]);
});
