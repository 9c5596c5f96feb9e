// Whether time depends on secrets: Welch's t-test on two classes of inputs, drawn in random order, in the manner of
// dudect (Reparaz, Balasch, Verbauwhede 2017). Kernels are timed as they are called; what differs between the classes
// is written before the clock starts, the same number of bytes for both.
import {
  BufferPool,
  DEFAULT_PARAMETERS,
  Kernels,
  ProviderLayer,
  PublicBasis,
  PublicElements,
} from "../src/entry/pll.ts";
import { type Address, at, RING_DEGREE, SPECTRUM_BYTES } from "../src/ring/kernels.ts";
import { type BenchOptions, markdownTable, type Section, significant } from "./harness.ts";
import { makePllLayer } from "./pll-layer.ts";
import { normalSource } from "./random-layer.ts";

const IN_FEATURES = 896;
const ROWS = 8;
const OUT_FEATURES = 896;
const KEY_LENGTH = DEFAULT_PARAMETERS.keyLength;
/** Integers that a sampler draws at a time. */
const SAMPLES = 8192;
/** |t| above this is not chance: dudect's bound is 4.5, with some dozens of tests a little more. */
const T_BOUND = 5;
/** Differences below this share of the time are not told from the machine's own: they are reported, not counted. */
const EFFECT_FLOOR = 0.01;
/** What the planted leak adds to one class. */
const PLANTED = 0.03;
/** Slowest samples that are left out: interruptions. */
const CROP = 0.1;

interface Case {
  readonly name: string;
  readonly classes: string;
  /** Before the clock: puts a class's input where run() takes it from. */
  prepare(which: 0 | 1): void;
  run(): void;
  /** After the clock. */
  finish?(): void;
  readonly isControl?: boolean;
  /** No client gets there: the row shows what is kept away, and is not counted. */
  readonly isPrevented?: boolean;
}

interface Result {
  readonly t: number;
  readonly medianMicros: number;
  /** Difference of the means over the larger one. */
  readonly effect: number;
  /** Smallest effect that this run would have called one. */
  readonly visible: number;
}

export async function run({ quick }: BenchOptions): Promise<Section[]> {
  const samples = quick ? 1_000 : 20_000;
  const rows: string[][] = [];
  const missed: string[] = [];
  const leaks: string[] = [];
  for (const each of cases()) {
    const result = measureCase(each, samples);
    const significantT = Math.abs(result.t) > T_BOUND;
    const found = significantT && Math.abs(result.effect) > EFFECT_FLOOR;
    if (each.isControl && !found) missed.push(each.name);
    if (!each.isControl && !each.isPrevented && found) leaks.push(`${each.name}, ${each.classes}`);
    const verdict = found ? "**differs**" : significantT ? "below the floor" : "no difference seen";
    rows.push([
      `${each.isControl ? "control: " : each.isPrevented ? "prevented: " : ""}${each.name}`,
      each.classes,
      significant(result.medianMicros),
      result.t.toFixed(1),
      `${(100 * result.effect).toFixed(2)} %`,
      `${(100 * result.visible).toFixed(2)} %`,
      verdict,
    ]);
  }
  const table = markdownTable(
    ["step", "classes", "median µs", "t", "effect", "smallest visible", "verdict"],
    rows,
  );
  const conclusion =
    missed.length > 0
      ? `**Says nothing: not detected were the controls ${missed.join(", ")}.** Run again on a quiet machine.`
      : leaks.length > 0
        ? `Both controls were detected. Time differs in: ${leaks.join(", ")}.`
        : "Both controls were detected, no step differs by more than the floor.";
  const method = `${samples} samples a step, the slowest ${100 * CROP} % left out; counted is |t| > ${T_BOUND} with an effect above ${100 * EFFECT_FLOOR} %.`;
  return [{ title: "Timing leaks", body: `${method}\n\n${table}\n\n${conclusion}` }];
}

function measureCase(each: Case, samples: number): Result {
  const times: [number[], number[]] = [[], []];
  const coins = new Uint8Array(samples);
  for (let i = 0; i < samples; i += 65_536) crypto.getRandomValues(coins.subarray(i, i + 65_536));
  const warmUp = Math.ceil(samples / 10);
  for (let i = -warmUp; i < samples; i++) {
    const which = ((i < 0 ? i : coins[i]) & 1) as 0 | 1;
    each.prepare(which);
    const before = process.hrtime.bigint();
    each.run();
    const elapsed = Number(process.hrtime.bigint() - before);
    each.finish?.();
    if (i >= 0) times[which].push(elapsed);
  }
  return welch(times);
}

function welch(times: readonly [number[], number[]]): Result {
  const sorted = [...times[0], ...times[1]].sort((a, b) => a - b);
  const limit = sorted[Math.floor((1 - CROP) * (sorted.length - 1))];
  const median = sorted[sorted.length >> 1];
  const [a, b] = times.map((all) => {
    const kept = all.filter((time) => time <= limit);
    const mean = kept.reduce((sum, time) => sum + time, 0) / kept.length;
    const variance = kept.reduce((sum, time) => sum + (time - mean) ** 2, 0) / (kept.length - 1);
    return { mean, squaredError: variance / kept.length };
  });
  const whole = Math.max(a.mean, b.mean);
  const error = Math.sqrt(a.squaredError + b.squaredError);
  return {
    t: (b.mean - a.mean) / error,
    medianMicros: median / 1000,
    effect: (b.mean - a.mean) / whole,
    visible: Math.max(EFFECT_FLOOR, (T_BOUND * error) / whole),
  };
}

function cases(): Case[] {
  const normal = normalSource(7);
  const real = Float64Array.from({ length: ROWS * IN_FEATURES }, normal);
  const layer = makePllLayer(real, ROWS, IN_FEATURES, { minRuns: 1, minMs: 1 });
  const { client, provider, masks } = layer;
  const randomBytes = (length: number) => {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i += 65_536) crypto.getRandomValues(bytes.subarray(i, i + 65_536));
    return bytes;
  };
  const random = Float32Array.from({ length: IN_FEATURES }, normal);
  const spike = new Float32Array(IN_FEATURES).fill(1e-30);
  spike[5] = 3e30;
  const planted = plantedLeak(() => masks.discard(masks.make(1)));
  return [
    { ...compareCase(), isControl: true },
    { ...planted, isControl: true },
    secretCase(),
    queryCase("x = 0 / random", new Float32Array(IN_FEATURES), random),
    queryCase("one huge entry / random", spike, random),
    promptQueryCase(),
    hiddenPartCase(),
    keyCase("x = 0 / random", new Float32Array(IN_FEATURES), random),
    keyCase("one huge entry / random", spike, random),
    recoverCase("reply 0 / random", (length) => new Uint8Array(length), randomBytes),
    recoverCase("reply all ones / random", (length) => new Uint8Array(length).fill(255), randomBytes),
    basisCase("y = 0 / random", () => 0, normal),
    basisCase("y = 2^-100, the least that recover gives / random", () => 2 ** -100, normal),
    { ...basisCase("y = 2^-120, denormal products / random", () => 2 ** -120, normal), isPrevented: true },
    answerCase(new Uint8Array(provider.queryBytes), randomBytes(provider.queryBytes)),
    secretProductCase(),
    secretTransformCase(),
    samplerCase("S", (kernels, random, out) => kernels.sampleUniform(random, SAMPLES, 7, out, 1)),
    samplerCase("E, added", (kernels, random, out) => kernels.addUniform(out, SAMPLES, 7, random)),
    samplerCase("E_H, added", (kernels, random, out) => kernels.addUniform(out, SAMPLES, 10, random)),
    makeKeyCase(),
  ];

  function queryCase(classes: string, ...inputs: [Float32Array, Float32Array]): Case {
    const x = new Float32Array(IN_FEATURES);
    let mask = masks.make(1);
    let query = client.makeQuery(mask, x);
    return {
      name: "query (scale, y, pack)",
      classes,
      prepare(which) {
        mask = masks.make(1);
        x.set(inputs[which]);
      },
      run: () => (query = client.makeQuery(mask, x)),
      finish: () => client.discard(query),
    };
  }

  /** Of a prompt: s and e are drawn, a_0·s + y is one sum. */
  function promptQueryCase(): Case {
    const x = new Float32Array(IN_FEATURES);
    let mask = masks.draw(1);
    let query = client.makeQuery(mask, x);
    return {
      name: "query of a prompt (a_0·s + y)",
      classes: "x = 0 / random",
      prepare(which) {
        mask = masks.draw(1);
        x.set(which === 0 ? new Float32Array(IN_FEATURES) : random);
      },
      run: () => (query = client.makeQuery(mask, x)),
      finish: () => client.discard(query),
    };
  }

  /** B·x̂ + H·s. */
  function keyCase(classes: string, ...inputs: [Float32Array, Float32Array]): Case {
    let query = client.makeQuery(masks.make(1), random);
    return {
      name: "key (B·x̂ + H·s)",
      classes,
      prepare: (which) => (query = client.makeQuery(masks.make(1), inputs[which])),
      run: () => client.applyKey(query, layer.key),
      finish: () => client.discard(query),
    };
  }

  function recoverCase(
    classes: string,
    ...make: [(n: number) => Uint8Array, (n: number) => Uint8Array]
  ): Case {
    const inputs = make.map((each) => each(client.replyBytes));
    const reply = new Uint8Array(client.replyBytes);
    let query = client.makeQuery(masks.make(1), random);
    return {
      name: "recover (unpack, subtract, scale)",
      classes,
      prepare(which) {
        query = client.makeQuery(masks.make(1), random);
        client.applyKey(query, layer.key);
        reply.set(inputs[which]);
      },
      run: () => client.recoverResult(query, reply),
    };
  }

  function answerCase(...inputs: [Uint8Array, Uint8Array]): Case {
    const query = new Uint8Array(provider.queryBytes);
    return {
      name: "answer (provider)",
      classes: "ciphertext 0 / random",
      prepare: (which) => query.set(inputs[which]),
      run: () => provider.answerQuery(layer.secret, query, 1),
    };
  }
}

/** delta = B′·y. */
function basisCase(classes: string, ...make: [() => number, () => number]): Case {
  const kernels = Kernels.load();
  const entries = Float32Array.from({ length: OUT_FEATURES * ROWS }, normalSource(3));
  const basis = PublicBasis.ofRows(kernels, entries, OUT_FEATURES, ROWS);
  const inputs = make.map((each) => Float32Array.from({ length: ROWS }, each));
  const y = new Float32Array(ROWS);
  const delta = new Float32Array(OUT_FEATURES);
  return {
    name: "delta (B′·y), 16 times",
    classes,
    prepare: (which) => y.set(inputs[which]),
    run() {
      for (let i = 0; i < 16; i++) basis.apply(y, delta);
    },
  };
}

/** The product of a mask: transform of s, a·s. */
function secretCase(): Case {
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const element = new PublicElements(kernels, pool, new Uint8Array(16)).element(0, false);
  const secret = pool.acquire(2 * RING_DEGREE);
  const words = pool.acquire(4 * RING_DEGREE);
  const ternary = () => Math.floor(3 * Math.random()) - 1;
  const inputs = [new Int16Array(RING_DEGREE), Int16Array.from({ length: RING_DEGREE }, ternary)];
  return {
    name: "mask (a·s)",
    classes: "s = 0 / random ternary",
    prepare: (which) => kernels.shorts(secret, RING_DEGREE).set(inputs[which]),
    run: () => kernels.addProducts([{ element, small: secret, count: RING_DEGREE }], words, KEY_LENGTH),
  };
}

/** y of two blocks: transforms and products of x̂, zeros or the largest there are. */
function hiddenPartCase(): Case {
  const kernels = Kernels.load();
  const elements = new PublicElements(kernels, new BufferPool(kernels), new Uint8Array(16));
  const small = kernels.allocate(4 * RING_DEGREE);
  const inputs = [0, 1].map((size) =>
    Int16Array.from({ length: 2 * RING_DEGREE }, () => size * (2 * Math.random() - 1) * 120),
  );
  const out = kernels.allocate(4 * KEY_LENGTH);
  const terms = [1, 2].map((index, block) => ({
    element: elements.element(index, true),
    small: at(small, 2 * block * RING_DEGREE),
    count: RING_DEGREE,
  }));
  return {
    name: "y (two public elements)",
    classes: "x̂ = 0 / random",
    prepare: (which) => kernels.shorts(small, 2 * RING_DEGREE).set(inputs[which]),
    run: () => kernels.addProducts(terms, out, KEY_LENGTH),
  };
}

/** S·v with another S in the same place. */
function secretProductCase(): Case {
  const kernels = Kernels.load();
  const [lo, hi] = [kernels.allocate(2 * KEY_LENGTH), kernels.allocate(2 * KEY_LENGTH)];
  const small = kernels.allocate(ROWS * KEY_LENGTH);
  const out = kernels.allocate(4 * ROWS);
  const shorts = (count: number) => Int16Array.from({ length: count }, () => 65_536 * Math.random() - 32_768);
  kernels.shorts(lo, KEY_LENGTH).set(shorts(KEY_LENGTH));
  kernels.shorts(hi, KEY_LENGTH).set(shorts(KEY_LENGTH));
  const secret = Int8Array.from({ length: ROWS * KEY_LENGTH }, () => Math.floor(128 * Math.random()) - 63);
  const inputs = [new Int8Array(ROWS * KEY_LENGTH), secret];
  const job = {
    lo,
    hi,
    planeRows: 1,
    small,
    smallRows: ROWS,
    smallBytes: 1 as const,
    length: KEY_LENGTH,
    out,
    outPlaneStride: ROWS,
    outSmallStride: 1,
  };
  return {
    name: "S·v (provider)",
    classes: "S = 0 / random",
    prepare: (which) => kernels.bytes(small, ROWS * KEY_LENGTH).set(inputs[which]),
    run: () => kernels.innerProducts(job),
  };
}

/** The transform of a row of S that B and H begin with. */
function secretTransformCase(): Case {
  const kernels = Kernels.load();
  const small = kernels.allocate(KEY_LENGTH);
  const transformed = kernels.allocate(SPECTRUM_BYTES);
  const secret = Int8Array.from({ length: KEY_LENGTH }, () => Math.floor(128 * Math.random()) - 63);
  const inputs = [new Int8Array(KEY_LENGTH), secret];
  return {
    name: "transform of S (provider)",
    classes: "S = 0 / random",
    prepare: (which) => kernels.bytes(small, KEY_LENGTH).set(inputs[which]),
    run: () => kernels.transformSmall(small, KEY_LENGTH, transformed, 1),
  };
}

/** A sampler on random bytes that are all zero, or random. */
function samplerCase(name: string, sample: (kernels: Kernels, random: Address, out: Address) => void): Case {
  const kernels = Kernels.load();
  const random = kernels.allocate(2 * SAMPLES);
  const out = kernels.allocate(4 * SAMPLES);
  const bytes = Uint8Array.from({ length: 2 * SAMPLES }, () => 256 * Math.random());
  const inputs = [new Uint8Array(2 * SAMPLES), bytes];
  return {
    name: `sampling of ${name}`,
    classes: "random bytes 0 / random",
    prepare(which) {
      kernels.bytes(random, 2 * SAMPLES).set(inputs[which]);
      kernels.wipe(out, 4 * SAMPLES);
    },
    run: () => sample(kernels, random, out),
  };
}

/** B and H of one row, whose W is zeros or random, from a seed that is zeros or random. */
function makeKeyCase(): Case {
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const elements = new PublicElements(kernels, pool, new Uint8Array(16));
  const weights = Int32Array.from({ length: IN_FEATURES }, () => 30_000 * Math.random() - 15_000);
  const shape = { parameters: DEFAULT_PARAMETERS, rows: 1, inFeatures: IN_FEATURES };
  const layers = [new Int32Array(IN_FEATURES), weights].map(
    (each) => new ProviderLayer(kernels, pool, elements, { ...shape, weights: each }),
  );
  const seeds = [new Uint8Array(32), crypto.getRandomValues(new Uint8Array(32))];
  let which = 0;
  return {
    name: "make B and H (provider)",
    classes: "W and seed 0 / random",
    prepare(next) {
      which = next;
    },
    run: () => layers[which].encryptWeights(seeds[which]),
  };
}

/** A comparison that stops at the first difference: the textbook leak. */
function compareCase(): Case {
  const secret = new Uint8Array(4096).fill(1);
  const guess = new Uint8Array(4096);
  let equal = true;
  return {
    name: "comparison with early exit",
    classes: "equal / different",
    prepare: (which) => guess.fill(which === 0 ? 1 : 2),
    run() {
      equal = true;
      for (let i = 0; i < guess.length && equal; i++) equal = guess[i] === secret[i];
    },
  };
}

/** Masks, and for one class a little more work: what the test must see to be worth anything. */
function plantedLeak(work: () => void): Case {
  for (let i = 0; i < 2000; i++) work();
  const start = performance.now();
  const calls = 500;
  for (let i = 0; i < calls; i++) work();
  const extraMs = (PLANTED * (performance.now() - start)) / calls;
  let isSlow = false;
  return {
    name: `a planted ${100 * PLANTED} %`,
    classes: "as it is / more work",
    prepare(which) {
      isSlow = which === 1;
    },
    run() {
      const before = process.hrtime.bigint();
      work();
      const until = isSlow ? Number(process.hrtime.bigint() - before) + 1e6 * extraMs : 0;
      while (Number(process.hrtime.bigint() - before) < until);
    },
  };
}
