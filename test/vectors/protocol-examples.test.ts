/**
 * docs/protocol.md: its example bytes stand in the page as computed, and the engine computes the same.
 *
 * To write them anew into the page: UPDATE_DOCS=1 npx vitest run test/vectors/protocol-examples.test.ts
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ERROR_KINDS } from "../../src/base/errors.ts";
import type { MessageSocket } from "../../src/base/platform.ts";
import { decodeBundle } from "../../src/bundle/bundle.ts";
import { ClientLayer } from "../../src/pll/client-layer.ts";
import { OneTimeMasks } from "../../src/pll/one-time-masks.ts";
import { ProviderLayer } from "../../src/pll/provider-layer.ts";
import { Provider } from "../../src/provider/provider.ts";
import { Kernels, NTT_POLY_BYTES, packedBytes } from "../../src/ring/kernels.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { BufferPool } from "../../src/rlwe/buffer-pool.ts";
import { at, MaskSource, wordStride } from "../../src/rlwe/mask-source.ts";
import { DEFAULT_PARAMETERS, uploadBits } from "../../src/rlwe/parameters.ts";
import { expandLayout } from "../../src/rlwe/public-elements.ts";
import { decodeProviderFrame } from "../../src/wire/frames.ts";
import { settle } from "../support/memory-socket.ts";
import {
  BUNDLE,
  FAILURE,
  HELLO,
  LIMITS,
  MANIFEST,
  protocolExamples,
  QUERY,
  SHORT_QUERY,
  WELCOME,
} from "../../tools/protocol-examples.ts";
import {
  ACTIVATION,
  BUNDLE_ID,
  computeWorkedLayer,
  GROUP,
  IN_FEATURES,
  LAYOUT,
  NORM_BOUND,
  PADDING,
  queryError,
  ROWS,
  SCALES,
  SECRET,
  WEIGHTS,
} from "../../tools/worked-layer.ts";

const PAGE = join(import.meta.dirname, "../../docs/protocol.md");
const p = DEFAULT_PARAMETERS;
const N = p.ringDegree;
const worked = computeWorkedLayer();
const provided = {
  parameters: p,
  rows: ROWS,
  inFeatures: IN_FEATURES,
  weights: WEIGHTS,
  padding: PADDING,
};

describe("docs/protocol.md", () => {
  it.each(Object.entries(protocolExamples()))("has the example %s as computed", (name, text) => {
    const page = readFileSync(PAGE, "utf8");
    const [open, close] = [`<!-- example ${name} -->\n\`\`\`text\n`, "\n```\n<!-- end -->"];
    const start = page.indexOf(open) + open.length;
    expect(start).toBeGreaterThanOrEqual(open.length);
    const end = page.indexOf(close, start - 1);
    if (process.env.UPDATE_DOCS) writeFileSync(PAGE, page.slice(0, start) + text + page.slice(end));
    else expect(page.slice(start, end)).toBe(text);
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
  const elements = expandLayout(kernels, pool, LAYOUT, BUNDLE_ID, GROUP);
  const stride = wordStride(LAYOUT);

  it("hint", () => {
    for (let r = 0; r < ROWS; r++) {
      const small = pool.acquire(2 * N);
      kernels.shorts(small, IN_FEATURES).set(WEIGHTS.subarray(r * IN_FEATURES, (r + 1) * IN_FEATURES));
      const padding = PADDING.subarray(r * p.paddingLength, (r + 1) * p.paddingLength);
      kernels.shorts(small, LAYOUT.words).set(padding, IN_FEATURES);
      const sums = pool.acquire(4 * N);
      kernels.words(sums, N).set(Uint32Array.from({ length: N }, (_, j) => ((j + 7 * r) % 5) - 2));
      kernels.transposedProduct(elements[0], small, LAYOUT.words, 12, sums);
      const packed = pool.acquire(4 * N);
      const length = kernels.packTop(sums, N, p.hintBits, packed);
      expect(kernels.bytes(packed, length)).toEqual(worked.hint.slice(r * length, (r + 1) * length));
    }
  });

  it("query", () => {
    const secret = pool.acquire(2 * N);
    kernels.shorts(secret, N).set(SECRET);
    const transformed = pool.acquire(NTT_POLY_BYTES);
    const words = pool.acquire(4 * stride);
    const secretNtt = kernels.secretToNtt(secret, transformed);
    kernels.multiplyPublic(elements[0], secretNtt, words, LAYOUT.words);
    const mask = kernels.words(words, LAYOUT.words);
    for (let i = 0; i < LAYOUT.words; i++) mask[i] += queryError(i);
    expect([...mask]).toEqual([...worked.mask]);
    const x = pool.acquire(4 * IN_FEATURES);
    kernels.floats(x, IN_FEATURES).set(ACTIVATION);
    kernels.addScaled(words, x, IN_FEATURES, worked.scale);
    const packed = pool.acquire(packedBytes(LAYOUT.words, uploadBits(p)));
    const length = kernels.packTop(words, LAYOUT.words, uploadBits(p), packed);
    expect(kernels.bytes(packed, length)).toEqual(worked.query);
  });

  it("answer", () => {
    expect(new ProviderLayer(kernels, pool, provided).answerQuery(worked.query, 1)).toEqual(worked.answer);
  });

  it("recover", () => {
    const source = new MaskSource(kernels, pool, systemRandom);
    const layer = new ClientLayer(kernels, pool, source, {
      parameters: p,
      rows: ROWS,
      inFeatures: IN_FEATURES,
      elements,
      hint: worked.hint,
      scales: SCALES,
      normBound: NORM_BOUND,
    });
    const masks = new OneTimeMasks(1, pool.acquire(4 * stride), pool.acquire(4 * ROWS));
    kernels.words(at(masks.hintProducts, 0), ROWS).set(worked.hintProducts);
    masks.scales[0] = worked.scale;
    masks.state = "sent";
    const y = layer.recoverResult(masks, worked.answer);
    for (const [r, value] of worked.y.entries()) expect(y[r]).toBeCloseTo(value, 5);
  });
});

describe("the example session, by a provider", () => {
  it("answers the frames of the page with the frames of the page", async () => {
    const bundle = await decodeBundle(BUNDLE);
    expect(bundle.manifest).toEqual(MANIFEST);
    const kernels = Kernels.load();
    const layers = [new ProviderLayer(kernels, new BufferPool(kernels), provided)];
    const sent: Uint8Array[] = [];
    const socket: MessageSocket = {
      send: (message) => void sent.push(message),
      bufferedBytes: 0,
      close: () => {},
      onMessage: () => {},
      onClose: () => {},
    };
    new Provider([{ name: "law", bundle, layers }], { limits: LIMITS }).accept(socket);
    for (const frame of [HELLO, QUERY, SHORT_QUERY]) socket.onMessage(frame);
    await settle();
    socket.onClose(1000, "");
    expect(sent[0]).toEqual(WELCOME);
    const answer = decodeProviderFrame(sent[1], 1 << 20);
    expect(answer).toMatchObject({ case: "answer", value: { id: 7, words: worked.answer } });
    expect(sent[2]).toEqual(FAILURE);
  });
});
