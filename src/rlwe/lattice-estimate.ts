/**
 * How many operations the best lattice attacks on an LWE instance cost, in bits.
 *
 * Two attacks are estimated, primal uSVP and dual, and the cheaper one counts; both also against many instances at once. Not modelled: hybrid attacks and the
 * dual improvements of MATZOV and after (0 to 10 bits by the literature), and the ring structure (no attack known to
 * use it at these parameters). docs/parameters.md compares the model with the published tables.
 *
 * Sources: ADPS16 = Alkim, Ducas, Pöppelmann, Schwabe, "Post-quantum key exchange: a new hope", section 6;
 * BG14 = Bai, Galbraith, "Lattice decoding attacks on binary LWE" (the scaling); APS15 = Albrecht, Player, Scott,
 * "On the concrete hardness of learning with errors"; HES = Albrecht et al., "Homomorphic encryption standard".
 */

/** LWE over Z_q: b = A·s + e with A (samples, dimension). */
export interface LweInstance {
  /** Entries of the secret. */
  readonly dimension: number;
  /** log2 of the modulus. */
  readonly logQ: number;
  /** Standard deviation of one secret entry. */
  readonly secretStddev: number;
  /** Standard deviation of one error. */
  readonly errorStddev: number;
  /** Samples that the attacker has; Infinity: as many as help. */
  readonly samples: number;
  /**
   * Bits known of integer combinations of the secret, each modulo a power of two: every bit halves the lattice's
   * density (Dachman-Soled, Ducas, Gong, Rossi, "LWE with side information", §4.2). The primal attack's estimate alone
   * uses them.
   */
  readonly modularHintBits?: number;
  /**
   * log2 of how many instances with this A and independent secrets and errors the attacker has, 0 to 120. The reduction
   * is shared, and one solved instance is enough. Dual: every short vector gives a sample of each. Primal: the easiest
   * of them counts, the one whose secret and error are shortest where the attack looks.
   */
  readonly logInstances?: number;
}

export interface LweEstimate {
  /** Block size that lattice reduction needs. */
  readonly beta: number;
  /** 0.292·beta (dual: plus repetitions): one call of a classical sieve, the "core-SVP" figure. */
  readonly coreBits: number;
  /** coreBits + 16.4 + log2(8d): the cost model of the published HE tables. */
  readonly standardBits: number;
  /** The core-SVP figure with a quantum sieve, 0.265·beta. */
  readonly quantumBits: number;
  readonly attack: "primal" | "dual";
}

/** Exponent of a classical sieve in dimension beta (ADPS16 §6.2, BDGL16). */
const SIEVE_CLASSICAL = 0.292;
/** Exponent of a quantum sieve in dimension beta (ADPS16 §6.2, Laarhoven). */
const SIEVE_QUANTUM = 0.265;
/** One sieve gives 2^(0.2075·beta) short vectors (ADPS16 §6.4). */
const SIEVE_VECTORS = 0.2075;
/** Constant of the sieve's running time in the HES cost model (APS15: 2^(0.292·beta + 16.4)). */
const SIEVE_CONSTANT = 16.4;
/** Below this block size the formula for delta means nothing, and the attack is practical anyway. */
const MIN_BETA = 40;
/** Far above every instance of use; reached only by instances beyond 5000 bits. */
const MAX_BETA = 20_000;
/** With more, Wilson and Hilferty's quantile is no norm any more at MIN_BETA. Enough for the pairs of 2^60 keys. */
const MAX_LOG_INSTANCES = 120;

/** log2 delta(beta), delta = ((pi·beta)^(1/beta)·beta/(2·pi·e))^(1/(2(beta-1))): the root-Hermite factor (Chen 2013). */
function logDelta(beta: number): number {
  const log = Math.log2(Math.PI * beta) / beta + Math.log2(beta / (2 * Math.PI * Math.E));
  return log / (2 * (beta - 1));
}

/** Smallest beta in [MIN_BETA, MAX_BETA] for which a monotone condition holds; MAX_BETA if it never does. */
function smallestBeta(holds: (beta: number) => boolean): number {
  let low = MIN_BETA;
  let high = MAX_BETA;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** log2 of Pollak's upper bound on P(N(0,1) > z), 2·phi(z)/(z + sqrt(z² + 8/pi)); exact at 0, within 1 % beyond. */
function logNormalTail(z: number): number {
  const logDensity = (-z * z * Math.LOG2E) / 2 - Math.log2(2 * Math.PI) / 2;
  return logDensity + 1 - Math.log2(z + Math.sqrt(z * z + 8 / Math.PI));
}

/** z ≥ 0 with P(N(0,1) > z) = 2^-bits; 0 below one bit. */
function normalQuantile(bits: number): number {
  let [low, high] = [0, Math.sqrt(2 * Math.LN2 * bits)]; // P ≤ exp(-z²/2)
  for (let step = 0; step < 50; step++) {
    const middle = (low + high) / 2;
    if (logNormalTail(middle) > -bits) low = middle;
    else high = middle;
  }
  return high;
}

/**
 * log2 of the smallest norm, relative to the expected one, among 2^logInstances Gaussian vectors of length beta:
 * the lower 2^-logInstances quantile of chi²_beta/beta by Wilson and Hilferty, (1 - 2/(9·beta) - z·sqrt(2/(9·beta)))³.
 */
export function logShortestNorm(beta: number, logInstances: number): number {
  if (logInstances === 0) return 0;
  const variance = 2 / (9 * beta);
  return (3 / 2) * Math.log2(1 - variance - normalQuantile(logInstances) * Math.sqrt(variance));
}

const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));

interface AttackCost {
  readonly beta: number;
  /** Dimension of the lattice. */
  readonly d: number;
  /** log2 of how often the sieve is run again. */
  readonly repetitionBits: number;
}

/**
 * sigma_e·sqrt(beta) ≤ delta^(2·beta - d - 1)·Vol^(1/d), d = m + n + 1, Vol = q^m·(sigma_e/sigma_s)^n.
 *
 * The ADPS16 §6.3 condition on the BG14 lattice, secret scaled to the size of the error, m ≤ samples optimal:
 * the logarithm of the right side is c - (d + 1)·log delta - V/d with V = (n + 1)·log q - n·log(sigma_e/sigma_s), less
 * the bits of modular hints. The left side is the expected norm of secret and error, projected to beta dimensions; of
 * many instances, the smallest such norm.
 */
function primal(lwe: LweInstance): AttackCost {
  const { dimension: n, logQ, samples, modularHintBits: hints = 0, logInstances = 0 } = lwe;
  const logError = Math.log2(lwe.errorStddev);
  const logScale = logError - Math.log2(lwe.secretStddev);
  const bestSamples = (beta: number) => {
    const best = Math.sqrt(((n + 1) * logQ - n * logScale - hints) / logDelta(beta)) - n - 1;
    return clamp(Math.round(best), 1, samples);
  };
  const beta = smallestBeta((b) => {
    const m = bestSamples(b);
    const d = m + n + 1;
    const projected = logError + Math.log2(b) / 2 + logShortestNorm(b, logInstances);
    return projected <= (2 * b - d - 1) * logDelta(b) + (m * logQ + n * logScale + hints) / d;
  });
  return { beta, d: bestSamples(beta) + n + 1, repetitionBits: 0 };
}

/**
 * eps = 4·exp(-2·pi²·tau²), tau = l·sigma_e/q, l = delta^d·(q·sigma_s/sigma_e)^(n/d), d = m + n.
 *
 * ADPS16 §6.4 on the scaled dual lattice: 1/eps² samples are needed, one sieve gives 2^(0.2075·beta) vectors, each of
 * them a sample of every instance. The cost is smallest where one sieve just suffices, because eps falls far faster with beta than the sieve's cost rises; the
 * block size below that is tried too, for rounding.
 */
function dual(lwe: LweInstance): AttackCost {
  const { dimension: n, logQ, samples, logInstances = 0 } = lwe;
  const logVolume = n * (logQ + Math.log2(lwe.secretStddev / lwe.errorStddev));
  const at = (beta: number): AttackCost => {
    const m = clamp(Math.round(Math.sqrt(logVolume / logDelta(beta))) - n, 1, samples);
    const d = m + n;
    const tau = 2 ** (d * logDelta(beta) + logVolume / d + Math.log2(lwe.errorStddev) - logQ);
    const logAdvantage = 2 - 2 * Math.PI ** 2 * tau ** 2 * Math.LOG2E;
    const missing = -2 * logAdvantage - SIEVE_VECTORS * beta - logInstances;
    return { beta, d, repetitionBits: Math.max(0, missing) };
  };
  const once = at(smallestBeta((b) => at(b).repetitionBits === 0));
  const below = at(Math.max(MIN_BETA, once.beta - 1));
  return classicalBits(below) < classicalBits(once) ? below : once;
}

const classicalBits = (cost: AttackCost) => SIEVE_CLASSICAL * cost.beta + cost.repetitionBits;

/** Both attacks. @throws RangeError unless every field is positive and logInstances in [0, 120] */
export function estimateAttacks(lwe: LweInstance): {
  readonly primal: LweEstimate;
  readonly dual: LweEstimate;
} {
  const { logInstances = 0, ...positive } = lwe;
  if (!(logInstances >= 0 && logInstances <= MAX_LOG_INSTANCES)) {
    throw new RangeError(`logInstances must be in [0, ${MAX_LOG_INSTANCES}], got ${logInstances}`);
  }
  for (const [name, value] of Object.entries(positive)) {
    if (!(value > 0)) throw new RangeError(`${name} must be positive, got ${value}`);
  }
  return { primal: estimateOf("primal", primal(lwe)), dual: estimateOf("dual", dual(lwe)) };
}

function estimateOf(attack: LweEstimate["attack"], cost: AttackCost): LweEstimate {
  const coreBits = classicalBits(cost);
  return {
    beta: cost.beta,
    coreBits,
    standardBits: coreBits + SIEVE_CONSTANT + Math.log2(8 * cost.d),
    quantumBits: SIEVE_QUANTUM * cost.beta + cost.repetitionBits,
    attack,
  };
}

/** min over both attacks of 0.292·beta + repetitions; every figure belongs to the attack that wins. */
export function estimateLwe(lwe: LweInstance): LweEstimate {
  const attacks = estimateAttacks(lwe);
  return attacks.dual.coreBits < attacks.primal.coreBits ? attacks.dual : attacks.primal;
}

/** h = log2(sigma·sqrt(2·pi·e)): bits in one integer weight, Gaussian with standard deviation sigma (h = 9.24 at 146). */
export function weightEntropy(stddev: number): number {
  return Math.log2(stddev * Math.sqrt(2 * Math.PI * Math.E));
}

/**
 * h_A: bits in one weight at the precision that answers have. An answer is off by `relativeError` of its size; weights
 * known as coarsely give the same function, and steps of sqrt(12)·relativeError standard deviations are as coarse.
 */
export function answeredEntropy(relativeError: number): number {
  return weightEntropy(1 / (Math.sqrt(12) * relativeError));
}

/** Q_func = n·h_A/b0: chosen queries after which a thief knows the function to the precision of the replies. */
export function functionQueries(n: number, weightEntropyBits: number, replyBits: number): number {
  return (n * weightEntropyBits) / replyBits;
}
