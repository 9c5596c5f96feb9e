/** What a bundle costs and what it is estimated to withstand. docs/parameters.md has the derivations. */
import type { BundleManifest } from "../../bundle/manifest.ts";
import { SIGNATURE_BYTES } from "../../bundle/signature.ts";
import { KEY_ID_BYTES } from "../../pll/key-secrets.ts";
import { predictedRelativeError } from "../../pll/noise.ts";
import { encryptedWeightBytes } from "../../pll/encrypted-weights.ts";
import { packedBytes } from "../../ring/kernels.ts";
import { answeredEntropy, functionQueries } from "../../rlwe/lattice-estimate.ts";
import { type AttackEstimates, attacksOn } from "../../rlwe/parameter-security.ts";
import type { Parameters } from "../../rlwe/parameters.ts";
import { encodeClientFrame, encodeProviderFrame } from "../../wire/frames.ts";

/** A group as far as costs go. */
export interface GroupShape {
  readonly inFeatures: number;
  /** Vectors of one token; default: 1. */
  readonly rowsPerToken?: number;
  readonly modules: readonly { readonly outFeatures: number; readonly rows: number }[];
}

export interface Cost {
  /** Scales and bases, without the few kB of the header. */
  readonly bundleBytes: number;
  /** For one token, frames included, keys not. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** One key, frames included. */
  readonly keyBytes: number;
  /** Vectors of each group that a key answers: tokens, as a rule. */
  readonly vectorsPerKey: number;
  /** Tokens that a key lasts: fewer where a group is asked for more than one vector each. */
  readonly tokensPerKey: number;
  /** Multiply-adds at the provider for one token: R·k. */
  readonly providerMacs: number;
}

export function costOf(parameters: Parameters, groups: readonly GroupShape[]): Cost {
  const { keyLength, uploadBits, replyBits, vectorsPerKey } = parameters;
  const keyId = new Uint8Array(KEY_ID_BYTES).fill(1);
  const made = { id: 1000, keyId, vectorsLeft: vectorsPerKey };
  const cost = {
    bundleBytes: 0,
    bytesUp: 0,
    bytesDown: 0,
    keyBytes: encodeProviderFrame({ case: "keyMade", value: made }).length,
    vectorsPerKey,
    tokensPerKey: vectorsPerKey,
    providerMacs: 0,
  };
  for (const [group, { inFeatures, modules, rowsPerToken: vectors = 1 }] of groups.entries()) {
    const rows = modules.reduce((sum, module) => sum + module.rows, 0);
    const basis = modules.reduce((sum, module) => sum + 2 * module.outFeatures * module.rows, 0);
    cost.bundleBytes += 8 * rows + basis;
    const ciphertext = new Uint8Array(vectors * packedBytes(keyLength, uploadBits));
    const query = { id: 1000, group, vectors, ciphertext, keyId };
    cost.bytesUp += encodeClientFrame({ case: "query", value: query }).length;
    const answer = {
      id: 1000,
      words: new Uint8Array(vectors * packedBytes(rows, replyBits)),
      computeMicros: 100,
    };
    cost.bytesDown += encodeProviderFrame({ case: "answer", value: answer }).length;
    const { weights, hint } = encryptedWeightBytes(parameters, rows, inFeatures);
    const part = {
      id: 1000,
      group,
      weights: new Uint8Array(weights),
      hint: new Uint8Array(hint),
      signature: new Uint8Array(group === groups.length - 1 ? SIGNATURE_BYTES : 0),
    };
    cost.keyBytes += encodeProviderFrame({ case: "keyPart", value: part }).length;
    cost.providerMacs += vectors * rows * keyLength;
    cost.tokensPerKey = Math.min(cost.tokensPerKey, Math.floor(vectorsPerKey / vectors));
  }
  return cost;
}

export interface SecurityBits {
  /** HE-standard cost model, the cheaper attack. */
  readonly standard: number;
  readonly coreSvp: number;
  readonly quantumCoreSvp: number;
  /** Core-SVP bits of each attack. */
  readonly primal: number;
  readonly dual: number;
}

export interface SecurityFacts {
  /** What hides the user's activations. */
  readonly query: SecurityBits;
  /** What hides the adapter from who has a key and asks nothing. */
  readonly key: SecurityBits;
  /** The same of keys that are worn out, by the queries that take most of them: one, two, or 2^30 of one adapter. */
  readonly wornKey: SecurityBits;
  /** Q_func for each width. */
  readonly functionVectors: readonly FunctionVectors[];
}

/** Chosen vectors to one group of this width, after which its function is known. */
export interface FunctionVectors {
  readonly inFeatures: number;
  readonly vectors: number;
}

export function securityFacts({ parameters, groups }: BundleManifest): SecurityFacts {
  const { user, freshKey, ...worn } = attacksOn(parameters);
  const widths = [...new Set(groups.map(({ inFeatures }) => inFeatures))].sort((a, b) => a - b);
  const weakest = Object.values(worn).reduce((a, b) => (b.best.standardBits < a.best.standardBits ? b : a));
  return {
    query: bitsOf(user),
    key: bitsOf(freshKey),
    wornKey: bitsOf(weakest),
    functionVectors: widths.map((inFeatures) => {
      const bits = answeredEntropy(predictedRelativeError(parameters, inFeatures));
      return {
        inFeatures,
        vectors: Math.round(functionQueries(inFeatures, bits, parameters.replyBits)),
      };
    }),
  };
}

function bitsOf({ best, primal, dual }: AttackEstimates): SecurityBits {
  return {
    standard: Math.floor(best.standardBits),
    coreSvp: Math.floor(best.coreBits),
    quantumCoreSvp: Math.floor(best.quantumBits),
    primal: Math.floor(primal.coreBits),
    dual: Math.floor(dual.coreBits),
  };
}

/** "2^231 operations, HE-standard cost model (core-SVP 2^200)" */
export function showBits({ standard, coreSvp }: SecurityBits): string {
  return `2^${standard} operations, HE-standard cost model (core-SVP 2^${coreSvp})`;
}

/** "171 at width 256, 434 at width 704: chosen vectors for all" */
export function showFunctionVectors({ functionVectors }: SecurityFacts): string {
  const each = functionVectors.map(({ inFeatures, vectors }) => `${vectors} at width ${inFeatures}`);
  return `${each.join(", ")}: chosen vectors for all`;
}

/** What the estimates promise and what they do not. */
export const SECURITY_PROMISE =
  "These are estimates of the best published lattice attacks, and they do not protect a function from its use: a " +
  "client must receive the function's value, so after about that many activation vectors of its own choice it can " +
  "know the layer's function, which nobody can prevent; a provider chooses whom it lets ask.";
