/** Queries that are made with other kernels: the same as a layer's own, and nothing of them stays where they were made. */
import { describe, expect, it } from "vitest";
import { negacyclicProductBigInt } from "../../test/oracle/ring.ts";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { gaussianSource, makeLayer, worstError } from "../../test/support/pll-layer.ts";
import { type Address, Kernels, RING_DEGREE } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { DEFAULT_PARAMETERS, paddedLength } from "../rlwe/parameters.ts";
import { publicElementBytes } from "../rlwe/public-elements.ts";
import { QueryMaker, secretBytes } from "./query-maker.ts";

const BUNDLE_ID = new Uint8Array(16); // makeLayer's
const ROWS = 3;

const layersOf = (...inFeatures: number[]) => ({
  bundleId: BUNDLE_ID,
  parameters: DEFAULT_PARAMETERS,
  inFeatures,
});
const vectorsOf = (count: number, n: number, seed = 9) =>
  Float32Array.from({ length: count * n }, gaussianSource(seed));

function layerOf(n: number, random = systemRandom) {
  const real = Float64Array.from({ length: ROWS * n }, gaussianSource(7));
  return { real, layer: makeLayer(real, ROWS, n, { random }) };
}

describe.each(["release", "debug"] as const)("queries of the %s kernels", (build) => {
  it.each([96, 700, 4500])("n = %i: are those of the layer itself, whoever asks the generator", (n) => {
    const x = vectorsOf(3, n);
    const { layer } = layerOf(n, seededRandom("queries"));
    const own = layer.client.makeQuery(layer.masks.draw(3), x);
    // makeLayer has its mask key before it draws a seed.
    const maker = new QueryMaker(layersOf(50, n), seededRandom("queries"), Kernels.load(build));
    const made = maker.make(1, x);
    expect(made.bytes).toEqual(own.bytes);
    expect(made.scales).toEqual(own.scales);
    const { kernels } = layer;
    expect(made.secrets).toEqual(kernels.shorts(own.secrets, 3 * RING_DEGREE).slice());
    const activations = kernels.shorts(own.activations, 3 * paddedLength(n)).slice();
    expect(made.activations).toEqual(activations);
  });

  it("give the layer's results once they are taken in", () => {
    const n = 300;
    const { real, layer } = layerOf(n);
    const { client, provider, secret, key } = layer;
    const x = vectorsOf(5, n);
    const made = new QueryMaker(layersOf(n), systemRandom, Kernels.load(build)).make(0, x);
    const query = client.takeIn(made);
    const reply = provider.answerQuery(secret, query.bytes, 5);
    client.applyKey(query, key);
    const y = client.recoverResult(query, reply);
    expect(worstError(real, x, y, ROWS, n)).toBeLessThan(2 ** -6);
  });

  it("leave nothing secret in the kernels that made them", () => {
    const kernels = Kernels.load(build);
    const keys: Buffer[] = [];
    const maker = new QueryMaker(
      layersOf(300),
      (out) => {
        systemRandom(out);
        keys.push(Buffer.from(out));
      },
      kernels,
    );
    const { secrets, activations } = maker.make(0, vectorsOf(2, 300));
    const memory = Buffer.from(kernels.bytes(0 as Address, kernels.allocate(0)));
    const bytesOf = ({ buffer, byteOffset, byteLength }: Int16Array) =>
      Buffer.from(buffer, byteOffset, byteLength);
    for (const part of [bytesOf(secrets).subarray(0, 64), bytesOf(activations).subarray(0, 64)])
      expect(memory.includes(part)).toBe(false);
    expect(kernels.scratch().every((byte) => byte === 0)).toBe(true);
    // The control: its mask key is there until it is wiped.
    expect(memory.includes(keys[0])).toBe(true);
    maker.wipe();
    expect(Buffer.from(kernels.bytes(0 as Address, kernels.allocate(0))).includes(keys[0])).toBe(false);
    expect(() => maker.make(0, vectorsOf(2, 300))).toThrow(RangeError);
  });
});

it("v − a_0·s − y is an error of CBD(21), rounded, as BigInt computes it", () => {
  const n = 200;
  const { keyLength, uploadBits, errorEta } = DEFAULT_PARAMETERS;
  const made = new QueryMaker(layersOf(n), systemRandom).make(0, vectorsOf(1, n));
  const wordsOf = (index: number) =>
    [...new Uint32Array(publicElementBytes(BUNDLE_ID, index).slice().buffer)].map(BigInt);
  const product = negacyclicProductBigInt(wordsOf(0), [...made.secrets].map(BigInt));
  // M(a_1)ᵀ·x̂ is the product with a_1(X^-1): b_0 = a_0, b_(N-i) = -a_i.
  const a = wordsOf(1);
  const transposed = a.map((_, i) => (i === 0 ? a[0] : -a[RING_DEGREE - i]));
  const small = Array.from({ length: RING_DEGREE }, (_, i) => BigInt(i < n ? made.activations[i] : 0));
  const y = negacyclicProductBigInt(transposed, small);
  const half = 1n << BigInt(31 - uploadBits);
  const stream = made.bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  for (let i = 0; i < keyLength; i++) {
    const top = (stream >> BigInt(i * uploadBits)) & ((1n << BigInt(uploadBits)) - 1n);
    const error = BigInt.asIntN(32, (top << BigInt(32 - uploadBits)) - product[i] - y[i]);
    expect(error <= BigInt(errorEta) + half && error >= -BigInt(errorEta) - half).toBe(true);
  }
});

describe("a maker", () => {
  it("draws other masks than any other, and never the same twice, whatever x is", () => {
    const n = 96;
    const x = new Float32Array(4 * n).fill(0.5);
    const makers = Array.from({ length: 3 }, () => new QueryMaker(layersOf(n), systemRandom));
    const seen = new Set<string>();
    for (let i = 0; i < 12; i++) {
      for (const maker of makers) {
        const { bytes, secrets } = maker.make(0, x);
        for (let t = 0; t < 4; t++) {
          seen.add(bytes.subarray(t * 4550, (t + 1) * 4550).join());
          seen.add(secrets.subarray(t * RING_DEGREE, (t + 1) * RING_DEGREE).join());
        }
      }
    }
    expect(seen.size).toBe(2 * 4 * 3 * 12);
  });

  it("uses memory that it is given if there is enough of it", () => {
    const n = 100;
    const maker = new QueryMaker(layersOf(n), systemRandom);
    const enough = new ArrayBuffer(secretBytes(2, n) + 8);
    expect(maker.make(0, vectorsOf(2, n), { memory: enough }).secrets.buffer).toBe(enough);
    const made = maker.make(0, vectorsOf(3, n), { memory: enough });
    expect(made.secrets.buffer).not.toBe(enough);
    expect(made.scales.length).toBe(3);
  });

  it("makes queries that are taken in once, and leave no memory behind where there is too little", () => {
    const n = 96;
    const { layer } = layerOf(n);
    const { client, pool } = layer;
    const maker = new QueryMaker(layersOf(n), systemRandom);
    const made = maker.make(0, vectorsOf(2, n));
    const query = client.takeIn(made);
    expect(() => client.takeIn(made)).toThrow(/taken in before/);
    client.discard(query);
    expect(() => client.takeIn(made)).toThrow(/taken in before/);
    // Each of the three pieces may be the one that there is no memory for.
    const { acquire, release } = pool;
    for (let missing = 0; missing < 3; missing++) {
      let [asked, held] = [0, 0];
      pool.acquire = (bytes) => {
        if (asked++ === missing) throw new RangeError("no memory");
        held++;
        return acquire.call(pool, bytes);
      };
      pool.release = (address, bytes) => {
        held--;
        release.call(pool, address, bytes);
      };
      expect(() => client.takeIn(maker.make(0, vectorsOf(2, n)))).toThrow("no memory");
      expect(held).toBe(0);
    }
  });

  it("refuses layers that are not there and lengths that are none", () => {
    const maker = new QueryMaker(layersOf(96), systemRandom);
    expect(() => maker.make(1, vectorsOf(1, 96))).toThrow(RangeError);
    expect(() => maker.make(0, vectorsOf(1, 95))).toThrow(RangeError);
    expect(() => maker.make(0, new Float32Array(0))).toThrow(RangeError);
    const { layer } = layerOf(96);
    const made = maker.make(0, vectorsOf(2, 96));
    expect(() => layer.client.takeIn({ ...made, secrets: made.secrets.subarray(1) })).toThrow(RangeError);
    expect(() => layer.client.takeIn({ ...made, bytes: made.bytes.subarray(1) })).toThrow(RangeError);
    expect(() => layer.client.takeIn({ ...made, vectors: 1 })).toThrow(RangeError);
    expect(() => layer.client.takeIn({ ...made, vectors: 0 })).toThrow(RangeError);
  });
});
