/**
 * What a client sends does not depend on what it decrypts (docs/security.md, rule 6): bundles that pass every check and
 * are still hostile, keys and replies of any words, give the same messages in the same order and of the same lengths as an
 * honest session over the same token ids, each behind the same number of the provider's. No retry, no goodbye, no message
 * more or less. How long the steps in between take is measured by bench/timing-leak.ts: no test here depends on a clock.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "@noble/hashes/sha2.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeBundle } from "../../src/bundle/bundle.ts";
import { toFloat16 } from "../../src/base/float16.ts";
import { keyPartDigest, signKey } from "../../src/bundle/key-signature.ts";
import { readPrivateState } from "../../src/bundle/private-state.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import type { EncryptedWeights } from "../../src/pll/encrypted-weights.ts";
import { seededRandom } from "../oracle/seeded-random.ts";
import { type EditableFile, editSafetensors } from "../support/edit-safetensors.ts";
import { type HostileProvider, replaced, startHostileProvider } from "../support/hostile-provider.ts";
import { goldenModel, goldenOf, type TestModel, temporaryFolder } from "../support/models.ts";

const NAME = "llama-f32";
const { input_ids: PROMPT } = goldenOf(NAME);
/** Fed whatever the logits say, so that every session computes the same positions. */
const NEXT_IDS = [7, 3, 11];
const folder = temporaryFolder();
let test: TestModel;
let provider: HostileProvider;
let bundle: Uint8Array;
let signingKey: Uint8Array;
let lastKeyId: Uint8Array;
let honest: readonly string[];

beforeAll(async () => {
  test = await goldenModel(NAME);
  await test.writeState(join(folder.path, "state"));
  bundle = new Uint8Array(readFileSync(join(folder.path, "state/bundle.safetensors")));
  const { manifest, digest } = await decodeBundle(bundle);
  const tree = nodeFileTree(join(folder.path, "state"));
  signingKey = (await readPrivateState(tree, "private.safetensors", manifest, digest)).keySigningKey;
  provider = await startHostileProvider(join(folder.path, "state"));
  honest = await traffic();
});
afterAll(async () => {
  await provider?.close();
  folder.remove();
});

interface Changes {
  /** Another bundle than the provider has. */
  readonly served?: Uint8Array;
  /** Of each answer. */
  readonly words?: (honest: Uint8Array) => Uint8Array;
  /** Of each part of a key; the key is signed anew, as a hostile provider can. */
  readonly part?: (honest: EncryptedWeights) => EncryptedWeights;
}

/** All that the client of one session sends, as kinds and lengths; the logits must be finite. */
async function traffic({ served, words, part }: Changes = {}): Promise<string[]> {
  provider.takeReceived();
  let digests: Uint8Array[] = [];
  provider.tamper = (message, bytes) => {
    if (served && message.case === "welcome") {
      return [replaced(message, { bundleDigest: sha256(served), bundleBytes: BigInt(served.length) })];
    }
    if (served && message.case === "bundlePart") {
      const { offset, data, last } = message.value;
      const end = last ? served.length : Number(offset) + data.length;
      return [replaced(message, { data: served.subarray(Number(offset), end) })];
    }
    if (message.case === "keyPart" && (served || part)) {
      const { weights, hint, signature } = message.value;
      const changed = part?.({ weights, hint }) ?? { weights, hint };
      digests.push(keyPartDigest(changed));
      const identity = { bundleDigest: sha256(served ?? bundle), keyId: lastKeyId };
      const signed = signature.length === 0 ? signature : signKey(signingKey, identity, digests);
      return [replaced(message, { ...changed, signature: signed })];
    }
    if (message.case === "keyMade") {
      lastKeyId = message.value.keyId.slice();
      digests = [];
    }
    if (words && message.case === "answer") {
      return [replaced(message, { words: words((message.value as { words: Uint8Array }).words) })];
    }
    return [bytes];
  };
  const model = await openPrivateModel(nodePlatform(), {
    base: test.checkpoint,
    provider: provider.url,
    reconnectMs: 0,
  });
  try {
    const cache = model.model.newCache();
    const all = [await model.model.forward(PROMPT, cache)];
    for (const id of NEXT_IDS) all.push(await model.model.forward([id], cache));
    for (const logits of all) expect(logits.every(Number.isFinite)).toBe(true);
  } finally {
    await model.close();
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  const lines = provider.takeReceived().map(describeMessage);
  // When: each message follows a certain answer and no other event, so nothing waits for, or hastens on, a value.
  return lines.map((line, i) => `${line}, after ${provider.answeredBefore[i]} of the provider's`);
}

function describeMessage(message: ReturnType<HostileProvider["takeReceived"]>[number]): string {
  switch (message.case) {
    case "hello":
      return `hello ${message.value.bundleDigest.length} ${message.value.token.length}`;
    case "query": {
      const { id, group, vectors, ciphertext } = message.value;
      return `query ${id} of group ${group}: ${vectors} vectors, ${ciphertext.length} bytes`;
    }
    case "fetchKey":
      return `fetchKey ${message.value.id} ${message.value.keyId.length}`;
    case "goodbye":
      return `goodbye ${message.value.reason.length}`;
    default:
      return message.case;
  }
}

const random = seededRandom("traffic");
const noise = (length: number) => {
  const bytes = new Uint8Array(length);
  random(bytes);
  return bytes;
};
const each = (file: EditableFile, part: string, edit: (tensor: EditableFile["tensors"][number]) => void) => {
  for (const tensor of file.tensors) if (tensor.name.includes(part)) edit(tensor);
};
const scales = (value: number) => (file: EditableFile) =>
  each(file, "scales", (tensor) => {
    tensor.data = new Uint8Array(new Float64Array(tensor.data.length / 8).fill(value).buffer);
  });
/** Orthonormal to within float16: unit vectors, everything else `rest`. */
const basis = (sign: number, rest: number) => (file: EditableFile) =>
  each(file, "basis", (tensor) => {
    const [rows, columns] = tensor.shape;
    const values = new Float32Array(rows * columns).fill(rest);
    for (let c = 0; c < columns; c++) values[c * columns + c] = sign;
    tensor.data = new Uint8Array(toFloat16(values).buffer);
  });

it("(control) an honest session is a Hello, a bundle, a key, queries, and a Goodbye", () => {
  expect(honest[0]).toMatch(/^hello/);
  expect(honest[1]).toMatch(/^fetchBundle/);
  expect(honest[2]).toMatch(/^fetchKey/);
  expect(honest.at(-1)).toMatch(/^goodbye/);
  expect(honest.filter((line) => line.startsWith("query")).length).toBe(honest.length - 4);
  expect(honest.length).toBeGreaterThan(10);
});

it("(control) another number of tokens is seen", async () => {
  const before = NEXT_IDS.length;
  NEXT_IDS.push(5);
  expect(await traffic()).not.toEqual(honest);
  NEXT_IDS.length = before;
  expect(await traffic()).toEqual(honest);
});

describe("the same traffic with a bundle", () => {
  it.each<[string, (file: EditableFile) => void]>([
    ["whose results overflow float32", scales(2 ** 99)],
    ["whose results are denormal", scales(2 ** -100)],
    ["whose basis is negative, with denormal halves", basis(-1, 2 ** -24)],
    ["whose basis is exact", basis(1, 0)],
  ])("%s", async (_, edit) => {
    expect(await traffic({ served: editSafetensors(bundle, edit) })).toEqual(honest);
  });
});

describe("the same traffic with keys", () => {
  const both =
    (change: (bytes: Uint8Array) => Uint8Array) =>
    ({ weights, hint }: EncryptedWeights) => ({
      weights: change(weights),
      hint: change(hint),
    });
  it.each<[string, (part: EncryptedWeights) => EncryptedWeights]>([
    ["of noise", both((bytes) => noise(bytes.length))],
    ["of zeros", both((bytes) => new Uint8Array(bytes.length))],
    ["of ones", both((bytes) => new Uint8Array(bytes.length).fill(255))],
    ["that move every u by half of q", both((bytes) => bytes.map((b, i) => (i % 3 === 2 ? b ^ 0x80 : b)))],
    ["whose hint is noise", ({ weights, hint }) => ({ weights, hint: noise(hint.length) })],
  ])("%s", async (_, part) => {
    expect(await traffic({ part })).toEqual(honest);
  });
});

describe("the same traffic with replies", () => {
  it.each<[string, (words: Uint8Array) => Uint8Array]>([
    ["of noise", (words) => noise(words.length)],
    ["of zeros", (words) => words.map(() => 0)],
    ["of ones", (words) => words.map(() => 255)],
    ["at the edge of the sign", (words) => words.map((_, i) => (i % 2 ? 0x80 : 0))],
    ["just below it", (words) => words.map((_, i) => (i % 2 ? 0x7f : 255))],
    ["with one bit flipped", (words) => words.map((byte, i) => (i === 0 ? byte ^ 1 : byte))],
  ])("%s", async (_, words) => {
    expect(await traffic({ words })).toEqual(honest);
  });
});
