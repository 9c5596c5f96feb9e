/**
 * docs/protocol.md: its example bytes stand in the page as computed, and the engine computes the same.
 *
 * To write them again into the page: UPDATE_DOCS=1 npx vitest run test/vectors/protocol-examples.test.ts
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/base/bytes.ts";
import { ERROR_KINDS } from "../../src/base/errors.ts";
import type { MessageSocket } from "../../src/base/platform.ts";
import { decodeBundle } from "../../src/bundle/bundle.ts";
import { publicKeyOf } from "../../src/bundle/signature.ts";
import { ClientLayer } from "../../src/pll/client-layer.ts";
import { ProviderLayer } from "../../src/pll/provider-layer.ts";
import type { LayerSecret } from "../../src/pll/secret-stream.ts";
import type { WeightEncryption } from "../../src/pll/weight-encryption.ts";
import { createApiKey } from "../../src/provider/api-keys.ts";
import { EmbeddedStore } from "../../src/provider/embedded-store.ts";
import { Provider } from "../../src/provider/provider.ts";
import type { KeyRecord, Reserved } from "../../src/provider/store.ts";
import { Kernels, RING_DEGREE } from "../../src/ring/kernels.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { BufferPool } from "../../src/rlwe/buffer-pool.ts";
import { MaskSource, type OneTimeMasks } from "../../src/rlwe/mask-source.ts";
import { DEFAULT_PARAMETERS } from "../../src/rlwe/parameters.ts";
import { PublicElements } from "../../src/rlwe/public-elements.ts";
import { decodeProviderFrame } from "../../src/wire/frames.ts";
import {
  BUNDLE,
  FAILURE,
  FETCH_AGAIN,
  FETCH_KEY,
  HELLO,
  KEY_ID,
  KEY_MADE,
  KEY_PART,
  KEY_SIGNING_KEY,
  LIMITS,
  MANIFEST,
  protocolExamples,
  QUERY,
  SHORT_QUERY,
  UNKNOWN_KEY,
  WELCOME,
} from "../../tools/protocol-examples.ts";
import {
  ACTIVATION,
  BUNDLE_ID,
  computeWorkedLayer,
  IN_FEATURES,
  ROWS,
  SCALES,
  SECRET,
  SEED,
  WEIGHTS,
} from "../../tools/worked-layer.ts";
import { expectPart } from "../support/computed-parts.ts";
import { memoryJournal } from "../support/memory-journal.ts";
import { settle } from "../support/memory-socket.ts";

const PAGE = join(import.meta.dirname, "../../docs/protocol.md");
const p = DEFAULT_PARAMETERS;
const worked = computeWorkedLayer();

describe("docs/protocol.md", () => {
  it.each(Object.entries(protocolExamples()))("has the example %s as computed", (name, text) => {
    expectPart(PAGE, `<!-- example ${name} -->\n\`\`\`text\n`, "\n```\n<!-- end -->", text);
  });

  it("lists every error that has a number, with its close code", () => {
    const page = readFileSync(PAGE, "utf8");
    for (const [code, kind] of Object.entries(ERROR_KINDS)) {
      if (kind.wire === 0) continue;
      const close = "close" in kind ? String(kind.close) : "1008";
      expect(page).toMatch(new RegExp(`^\\| ${kind.wire} \\| \`${code}\` \\|.*\\| ${close} \\|$`, "m"));
    }
  });
});

describe("the worked layer, by the engine", () => {
  const kernels = Kernels.load("debug");
  const pool = new BufferPool(kernels);
  const elements = new PublicElements(kernels, pool, BUNDLE_ID);
  const shape = { parameters: p, rows: ROWS, inFeatures: IN_FEATURES };
  const provider = new ProviderLayer(kernels, pool, elements, { ...shape, weights: WEIGHTS });

  it("key", () => {
    expect(provider.encryptWeights(SEED)).toEqual({ weights: worked.weights, hint: worked.hint });
  });

  it("answer", () => {
    const secret = provider.deriveSecret(SEED);
    expect(provider.answerQuery(secret, worked.query, 1)).toEqual(worked.answer);
  });

  it("query and recover", () => {
    const source = new MaskSource(kernels, pool, p, elements.element(0, false), systemRandom);
    const client = new ClientLayer(kernels, pool, source, elements, { ...shape, scales: SCALES });
    const masks: OneTimeMasks = {
      vectors: 1,
      words: pool.acquire(4 * p.keyLength),
      secrets: pool.acquire(2 * RING_DEGREE),
      hasProduct: true,
      state: "fresh",
    };
    kernels.words(masks.words, p.keyLength).set(worked.mask);
    kernels.shorts(masks.secrets, RING_DEGREE).set(SECRET);
    const query = client.makeQuery(masks, ACTIVATION);
    expect(query.bytes).toEqual(worked.query);
    client.applyKey(query, client.loadKey({ weights: worked.weights, hint: worked.hint }));
    expect([...kernels.words(query.sums, ROWS)]).toEqual(worked.products);
    const y = client.recoverResult(query, worked.answer);
    for (const [r, value] of worked.y.entries()) expect(y[r]).toBeCloseTo(value, 5);
  });
});

it("the example bundle decodes to the example manifest", async () => {
  const bundle = await decodeBundle(BUNDLE);
  expect(bundle.manifest).toEqual(MANIFEST);
  expect(toHex(publicKeyOf(KEY_SIGNING_KEY))).toBe(MANIFEST.keySigner);
});

/** Its keys are those of the example's seed, whichever seed it is given. */
class ExampleLayer extends ProviderLayer {
  override beginEncryption(): WeightEncryption {
    return super.beginEncryption(SEED);
  }

  override deriveSecret(): LayerSecret {
    return super.deriveSecret(SEED);
  }
}

/** A store whose next key is the example's. */
class ExampleStore extends EmbeddedStore {
  override async allocateKey(): Promise<Uint8Array> {
    return KEY_ID;
  }

  override async keysLeft(_account: string, keyIds: readonly Uint8Array[]): Promise<(number | undefined)[]> {
    return keyIds.map(() => undefined);
  }

  override async reserve(): Promise<Reserved> {
    return { granted: true, replayed: false, remaining: undefined };
  }

  override async findKey(): Promise<KeyRecord> {
    return createApiKey({ budget: null }).record;
  }
}

describe("the example session, by a provider", () => {
  it("answers the frames of the page with the frames of the page", async () => {
    const bundle = await decodeBundle(BUNDLE);
    const kernels = Kernels.load();
    const pool = new BufferPool(kernels);
    const elements = new PublicElements(kernels, pool, BUNDLE_ID);
    const shape = { parameters: p, rows: ROWS, inFeatures: IN_FEATURES };
    const layers = [new ExampleLayer(kernels, pool, elements, { ...shape, weights: WEIGHTS })];
    const sent: Uint8Array[] = [];
    const socket: MessageSocket = {
      send: (message) => void sent.push(message),
      bufferedBytes: 0,
      close: () => {},
      onMessage: () => {},
      onClose: () => {},
    };
    const rootSecret = new Uint8Array(32);
    const adapter = { name: "law", bundle, layers, rootSecret, keySigningKey: KEY_SIGNING_KEY };
    const store = new ExampleStore(memoryJournal(), []);
    new Provider([adapter], { limits: LIMITS, store }).accept(socket);
    socket.onMessage(HELLO);
    socket.onMessage(FETCH_KEY);
    await expect.poll(() => sent.length, { interval: 1 }).toBe(3);
    for (const frame of [QUERY, SHORT_QUERY, FETCH_AGAIN]) {
      socket.onMessage(frame);
      await settle();
    }
    socket.onClose(1000, "");
    const [welcome, made, part, answer, ...failures] = sent;
    expect([welcome, made, part]).toEqual([WELCOME, KEY_MADE, KEY_PART]);
    // How long it computed is another number each time.
    const value = { id: 7, words: worked.answer };
    expect(decodeProviderFrame(answer, 1 << 20)).toMatchObject({ case: "answer", value });
    expect(failures).toEqual([FAILURE, UNKNOWN_KEY]);
  });
});
