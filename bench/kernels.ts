// Every kernel at the sizes of one token (n = 4096, r = 8), with SEAL's transform of the same degree beside them.
import { type Address, Kernels, RING_DEGREE, SPECTRUM_BYTES } from "../src/ring/kernels.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { DEFAULT_PARAMETERS } from "../src/rlwe/parameters.ts";
import { measure } from "./harness.ts";
import { loadSeal, makeContext } from "./seal/load-seal.ts";

export interface KernelFigure {
  readonly name: string;
  /** Median of one call. */
  readonly microseconds: number;
  readonly note?: string;
}

const N = RING_DEGREE;
/** Words of a query. */
const WORDS = DEFAULT_PARAMETERS.keyLength;
const IN_FEATURES = 4096;

export async function benchKernels(): Promise<KernelFigure[]> {
  return [...ringFigures(), ...wordFigures(), ...productFigures(), await sealFigure()];
}

function figure(name: string, run: () => unknown, note?: string, calls = 1): KernelFigure {
  const microseconds = (measure(name, run, { minMs: 300 }).median * 1000) / calls;
  return note === undefined ? { name, microseconds } : { name, microseconds, note };
}

/** An allocated buffer of random bytes. */
function randomBuffer(kernels: Kernels, bytes: number): Address {
  const address = kernels.allocate(bytes);
  systemRandom(kernels.bytes(address, bytes));
  return address;
}

function ringFigures(): KernelFigure[] {
  const kernels = Kernels.load();
  const words = randomBuffer(kernels, 4 * N);
  const random = randomBuffer(kernels, 1024);
  const s = kernels.allocate(2 * N);
  kernels.sampleTernary(random, 1024, s);
  const small = kernels.allocate(2 * N);
  kernels.shorts(small, N).forEach((_, i, all) => {
    all[i] = (i % 127) - 63;
  });
  const element = kernels.prepareElement(words, true, kernels.allocate(SPECTRUM_BYTES));
  const spectrum = kernels.transformSmall(small, WORDS, kernels.allocate(SPECTRUM_BYTES));
  const terms = (blocks: number) => Array.from({ length: blocks }, () => ({ element, small, count: N }));
  const out = kernels.allocate(4 * N);
  return [
    figure(
      "prepareElement",
      () => kernels.prepareElement(words, true, element),
      "a public element's transform",
    ),
    figure(
      "transformSmall",
      () => kernels.transformSmall(small, WORDS, spectrum),
      "one transform, 2048 points, from i16",
    ),
    figure(
      "addProductOf",
      () => kernels.addProductOf(element, spectrum, out, N),
      "one pointwise product and one transform back",
    ),
    ...[1, 2, 7].map((blocks) => {
      const all = terms(blocks);
      return figure(
        "addProducts",
        () => kernels.addProducts(all, out, WORDS),
        `${blocks} public elements: as many transforms, and one back`,
      );
    }),
    figure("sampleTernary", () => kernels.sampleTernary(random, 1024, s)),
  ];
}

function wordFigures(): KernelFigure[] {
  const kernels = Kernels.load();
  const key = randomBuffer(kernels, 32);
  const bytes = Math.ceil((6 * WORDS) / 256) * 256;
  const noise = kernels.allocate(bytes);
  const words = randomBuffer(kernels, 4 * WORDS);
  const packed = kernels.allocate(4 * WORDS);
  const lo = kernels.allocate(2 * WORDS);
  const hi = kernels.allocate(2 * WORDS);
  const small = kernels.allocate(2 * IN_FEATURES);
  const x = kernels.allocate(4 * IN_FEATURES);
  kernels.floats(x, IN_FEATURES).forEach((_, i, all) => {
    all[i] = Math.sin(i);
  });
  return [
    figure("expandRandom", () => kernels.expandRandom(key, 1, 2, noise, bytes), `${bytes} bytes of ChaCha20`),
    figure("addErrors", () => kernels.addErrors(words, WORDS, noise), `${WORDS} CBD(21) samples`),
    figure("sampleUniform", () => kernels.sampleUniform(noise, WORDS, 7, small, 1), `${WORDS} of S`),
    figure("addUniform", () => kernels.addUniform(words, WORDS, 7, noise), `${WORDS} of E`),
    figure("squaredNorm", () => kernels.squaredNorm(x, IN_FEATURES), `${IN_FEATURES} floats`),
    figure(
      "scaleActivation",
      () => kernels.scaleActivation(x, IN_FEATURES, 1234.5678, small),
      `${IN_FEATURES} floats`,
    ),
    figure("packTop", () => kernels.packTop(words, WORDS, 25, packed), `${WORDS} words to 25 bits`),
    figure("unpackTop", () => kernels.unpackTop(packed, WORDS, 25, words), `${WORDS} words from 25 bits`),
    figure("splitWords", () => kernels.splitWords(words, WORDS, lo, hi), `${WORDS} words`),
  ];
}

function productFigures(): KernelFigure[] {
  const shapes = [
    { planeRows: 1, smallRows: 8, length: WORDS, what: "S·v of one query, r = 8" },
    { planeRows: 1, smallRows: 64, length: WORDS, what: "S·v of one query, r = 64" },
    { planeRows: 64, smallRows: 8, length: WORDS, what: "S·v of 64 queries, r = 8" },
    { planeRows: 64, smallRows: 64, length: WORDS, what: "S·v of 64 queries, r = 64" },
    { planeRows: 8, smallRows: 1, length: IN_FEATURES, what: "B·x̂ of one token, r = 8" },
    { planeRows: 8, smallRows: 64, length: IN_FEATURES, what: "B·x̂ of 64 tokens, r = 8" },
    { planeRows: 8, smallRows: 1, length: N, what: "H·s of one token, r = 8" },
  ];
  return shapes.map(({ planeRows, smallRows, length, what }) => {
    const kernels = Kernels.load();
    const job = {
      lo: randomBuffer(kernels, 2 * planeRows * length),
      hi: randomBuffer(kernels, 2 * planeRows * length),
      planeRows,
      small: randomBuffer(kernels, 2 * smallRows * length),
      smallRows,
      length,
      out: kernels.allocate(4 * planeRows * smallRows),
      outPlaneStride: 1,
      outSmallStride: planeRows,
    };
    const one = figure("innerProducts", () => kernels.innerProducts(job));
    const rate = (planeRows * smallRows * length) / one.microseconds / 1000;
    return {
      ...one,
      note: `${what}: ${planeRows} × ${smallRows} rows of ${length}, ${rate.toFixed(1)} G u32 products/s`,
    };
  });
}

/** BFV at N = 2048 and one 54-bit limb, the only 128-bit setting of that degree: a ciphertext is two such polynomials. */
async function sealFigure(): Promise<KernelFigure> {
  const { seal, build } = await loadSeal();
  const { encryptor, evaluator, context } = makeContext(seal, "bfv", N, [54], (parameters) => {
    parameters.setPlainModulus(seal.PlainModulus.Batching(N, 17));
  });
  const plain = seal.PlainText();
  seal.BatchEncoder(context).encode(
    Int32Array.from({ length: N }, (_, i) => i - 1024),
    plain,
  );
  const cipher = seal.CipherText();
  const transformed = seal.CipherText();
  encryptor.encrypt(plain, cipher);
  return figure(
    "SEAL NTT",
    () => {
      evaluator.cipherTransformToNtt(cipher, transformed);
      evaluator.cipherTransformFromNtt(transformed, cipher);
    },
    `per polynomial and 54-bit limb, mean of forward and inverse, with SEAL's copy, N = ${N}; ${build}`,
    4,
  );
}
