/** Outputs of every kernel on seeded inputs, as one digest. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesOf, toHex, utf8 } from "../../src/base/bytes.ts";
import {
  type KernelBuild,
  RING_DEGREE,
  SPECTRUM_BYTES,
  TERNARY_RANDOM_BYTES,
} from "../../src/ring/kernels.ts";
import { KernelDriver } from "./kernel-driver.ts";

const N = RING_DEGREE;
const ROUNDS = 4;

export function seededOutputsDigest(build: KernelBuild): string {
  const hash = sha256.create();
  const driver = new KernelDriver(build);
  const { kernels } = driver;
  const key = sha256(utf8("tacet seeded outputs"));
  for (let round = 0; round < ROUNDS; round++) {
    const stream = driver.expand(key, round, 1, 4 * N + 1024 + 6 * N + 4 * N);
    hash.update(stream);
    const a = driver.put(stream.subarray(0, 4 * N));
    const ternary = driver.put(stream.subarray(4 * N, 4 * N + TERNARY_RANDOM_BYTES));
    const noise = driver.put(stream.subarray(4 * N + 1024, 10 * N + 1024));
    const rest = stream.subarray(10 * N + 1024);
    const small = Int16Array.from(
      { length: N },
      (_, i) => ((rest[2 * i] | (rest[2 * i + 1] << 8)) & 1023) - 512,
    );
    const x = Float32Array.from(small, (value) => value / 37);

    const s = kernels.allocate(2 * N);
    kernels.sampleTernary(ternary, TERNARY_RANDOM_BYTES, s);
    hash.update(kernels.bytes(s, 2 * N));
    const element = kernels.prepareElement(a, false, kernels.allocate(SPECTRUM_BYTES));
    const v = kernels.allocate(4 * N);
    kernels.addProducts([{ element, small: s, count: N }], v, N);
    kernels.addErrors(v, N, noise);
    const input = driver.put(x);
    hash.update(bytesOf(Float64Array.of(kernels.squaredNorm(input, N))));
    hash.update(kernels.bytes(v, 4 * N));
    const scaled = kernels.allocate(2 * N);
    kernels.scaleActivation(input, N, 12.34321, scaled);
    hash.update(kernels.bytes(scaled, 2 * N));

    const uniform = kernels.allocate(2 * N);
    kernels.sampleUniform(noise, N, 7, uniform);
    hash.update(kernels.bytes(uniform, 2 * N));
    const hint = kernels.allocate(4 * N);
    kernels.addUniform(hint, N, 10, noise);
    for (const transposed of [false, true]) {
      const prepared = kernels.prepareElement(a, transposed, kernels.allocate(SPECTRUM_BYTES));
      const terms = [uniform, scaled].map((values) => ({ element: prepared, small: values, count: N - 5 }));
      kernels.addProducts(terms, hint, N - 3);
      hash.update(kernels.bytes(hint, 4 * N));
    }
    for (const bits of [12, 24, 27, 28]) {
      const packed = driver.pack(driver.words(v, N), bits);
      hash.update(packed);
      hash.update(bytesOf(driver.unpack(packed, N, bits)));
    }
    hash.update(
      bytesOf(driver.innerProducts([driver.words(v, N), driver.words(hint, N)], [small, small], N)),
    );
  }
  return toHex(hash.digest());
}
