/**
 * Every byte of a key, a query and an answer, and the exact identity
 *   B·x̂ + H·s − answer = W·x̂ + E·x̂ − S·e + E_H·s + roundings   mod 2^32,
 * against arithmetic that shares no code with the engine (test/oracle/private-layer.ts).
 */
import { describe, expect, it } from "vitest";
import { packTop, unpackTop } from "../../test/oracle/packing.ts";
import {
  encryptedRow,
  hiddenPart,
  hintRow,
  integerProduct,
  keySeedOracle,
  maskWithoutError,
  rowSecrets,
} from "../../test/oracle/private-layer.ts";
import { randomIntegers, seededRandom } from "../../test/oracle/seeded-random.ts";
import { gaussianSource, makeLayer } from "../../test/support/pll-layer.ts";
import { utf8 } from "../base/bytes.ts";
import { RING_DEGREE } from "../ring/kernels.ts";
import { DEFAULT_PARAMETERS as P } from "../rlwe/parameters.ts";
import { keySeed } from "./key-secrets.ts";

const ROWS = 2;
const BUNDLE_ID = new Uint8Array(16);

/** Rounding errors of packed words: what the packed ones stand for, less the words. */
function roundings(words: Uint32Array, bits: number): Int32Array {
  const kept = unpackTop(packTop(words, words.length, bits), words.length, bits);
  const differences = Int32Array.from(words, (word, i) => (kept[i] - word) | 0);
  for (const difference of differences) expect(Math.abs(difference)).toBeLessThanOrEqual(2 ** (31 - bits));
  return differences;
}

it("a key's seed is SHAKE256 over all that the key belongs to", () => {
  const bytes = (fill: number, length: number) => new Uint8Array(length).fill(fill);
  const identity = {
    rootSecret: bytes(1, 32),
    bundleDigest: bytes(2, 32),
    weightsDigest: bytes(3, 32),
    elementsDigest: bytes(6, 32),
    parameters: P,
    account: bytes(4, 5),
    keyId: bytes(5, 16),
    group: 0x01020304,
  };
  const { rootSecret, bundleDigest, weightsDigest, elementsDigest, account, keyId } = identity;
  const parameters = utf8(JSON.stringify(P));
  // Group, version of the protocol, version of keys.
  const numbers = [Uint8Array.of(4, 3, 2, 1), Uint8Array.of(2, 0, 0, 0), Uint8Array.of(1, 0, 0, 0)];
  const digests = [bundleDigest, weightsDigest, elementsDigest];
  expect(keySeed(identity)).toEqual(
    keySeedOracle([rootSecret, ...digests, parameters, account, keyId, ...numbers]),
  );
});

describe.each(["release", "debug"] as const)("with the %s kernels", (build) => {
  it.each([1, 300, 2049, 4500])(
    "n = %i",
    (n) => {
      const layer = makeLayer(Float64Array.from({ length: ROWS * n }, gaussianSource(n)), ROWS, n, {
        build,
        random: seededRandom(`identity ${n}`),
      });
      const { client, provider, kernels, masks, seed, encrypted, quantized } = layer;
      const keys = Array.from({ length: ROWS }, (_, r) => {
        const secrets = rowSecrets(seed, r, n);
        const weights = quantized.integers.subarray(r * n, (r + 1) * n);
        const [B, H] = [encryptedRow(BUNDLE_ID, weights, secrets), hintRow(BUNDLE_ID, secrets)];
        return { ...secrets, weights, B, H };
      });
      const packedB = keys.flatMap(({ B }) => [...packTop(B, n, P.weightBits)]);
      const packedH = keys.flatMap(({ H }) => [...packTop(H, RING_DEGREE, P.hintBits)]);
      expect([...encrypted.weights]).toEqual(packedB);
      expect([...encrypted.hint]).toEqual(packedH);

      const one = masks.make(1);
      const mask = kernels.words(one.words, P.keyLength).slice();
      const s = kernels.shorts(one.secrets, RING_DEGREE).slice();
      const e = maskWithoutError(BUNDLE_ID, s).map((word, i) => mask[i] - word);
      const x = Float32Array.from(
        randomIntegers(seededRandom(`x ${n}`), n, -1000, 1000),
        (value) => value / 7,
      );
      const query = client.makeQuery(one, x);
      const small = kernels.shorts(query.activations, n).slice();
      const norm = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
      const c = 2 ** 31 / (1.05 * 2 ** 19 * norm);
      expect(query.scales[0] / c).toBeCloseTo(1, 12);
      for (let j = 0; j < n; j++) expect(Math.abs(small[j] - c * x[j])).toBeLessThan(0.5 + 1e-9);

      const v = hiddenPart(BUNDLE_ID, small).map((word, i) => word + mask[i]);
      expect(query.bytes).toEqual(packTop(v, P.keyLength, P.uploadBits));
      const sent = unpackTop(query.bytes, P.keyLength, P.uploadBits);

      const exactAnswers = keys.map(({ secret }) => Number(BigInt.asUintN(32, integerProduct(secret, sent))));
      const reply = provider.answerQuery(layer.secret, query.bytes, 1);
      expect(reply).toEqual(packTop(exactAnswers, ROWS, P.replyBits));
      const answered = unpackTop(reply, ROWS, P.replyBits);

      client.applyKey(query, layer.key);
      const sums = kernels.words(query.sums, ROWS).slice();
      const y = client.recoverResult(query, reply);
      const signedE = Int32Array.from(e, (value) => value | 0);
      expect(signedE.every((value) => Math.abs(value) <= 21)).toBe(true);
      const queryRounding = roundings(v, P.uploadBits);
      keys.forEach((key, r) => {
        const u = (sums[r] - answered[r]) | 0;
        const replyRounding = BigInt((answered[r] - exactAnswers[r]) | 0);
        const expected =
          integerProduct(key.weights, small) +
          integerProduct(key.weightErrors, small) +
          integerProduct(roundings(key.B, P.weightBits), small) -
          integerProduct(key.secret, signedE) -
          integerProduct(key.secret, queryRounding) +
          integerProduct(key.hintErrors, s) +
          integerProduct(roundings(key.H, P.hintBits), s) -
          replyRounding;
        // As whole integers: nothing has wrapped.
        expect(BigInt(u)).toBe(expected);
        expect(y[r]).toBe(Math.fround((u * quantized.scales[r]) / c));
      });
    },
    60_000,
  );
});
