/** What a bundle costs and what it is estimated to withstand. docs/parameters.md has the derivations. */
import type { BundleManifest, OutputMode } from "../bundle/manifest.ts";
import { packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import { functionQueries, weightEntropy } from "../rlwe/lattice-estimate.ts";
import { securityOf } from "../rlwe/parameter-security.ts";
import { layoutOf, type Parameters, replyBits, uploadBits } from "../rlwe/parameters.ts";
import { encodeClientFrame, encodeProviderFrame } from "../wire/frames.ts";

/** A group as far as costs go. */
export interface GroupShape {
  readonly inFeatures: number;
  readonly modules: readonly { readonly outFeatures: number; readonly rows: number }[];
}

export interface ModeCost {
  readonly output: OutputMode;
  /** Hints, scales and bases, without the few kB of the header. */
  readonly bundleBytes: number;
  /** For one token, frames included. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Multiply-adds at the provider for one token: R·(n + n_pad). */
  readonly providerMacs: number;
}

export function costOf(output: OutputMode, parameters: Parameters, groups: readonly GroupShape[]): ModeCost {
  let bundleBytes = 0;
  let bytesUp = 0;
  let bytesDown = 0;
  let providerMacs = 0;
  for (const [group, { inFeatures, modules }] of groups.entries()) {
    const rows = modules.reduce((sum, module) => sum + module.rows, 0);
    const { words } = layoutOf(parameters, inFeatures);
    const basis = modules.reduce((sum, module) => sum + 2 * module.outFeatures * module.rows, 0);
    bundleBytes += rows * (packedBytes(RING_DEGREE, parameters.hintBits) + 8);
    if (output === "public-basis") bundleBytes += basis;
    const ciphertext = new Uint8Array(packedBytes(words, uploadBits(parameters)));
    const reply = new Uint8Array(packedBytes(rows, replyBits(parameters, inFeatures)));
    const query = { id: 1000, group, vectors: 1, ciphertext };
    bytesUp += encodeClientFrame({ case: "query", value: query }).length;
    const answer = { id: 1000, words: reply, computeMicros: 100 };
    bytesDown += encodeProviderFrame({ case: "answer", value: answer }).length;
    providerMacs += rows * words;
  }
  return { output, bundleBytes, bytesUp, bytesDown, providerMacs };
}

/** The groups of LoRA modules in a mode; rank rows of B′'s columns, or all rows when sealed. */
export function shapesOf(
  output: OutputMode,
  groups: readonly { readonly inFeatures: number; readonly modules: readonly string[] }[],
  modules: ReadonlyMap<string, { readonly rank: number; readonly outFeatures: number }>,
): GroupShape[] {
  return groups.map(({ inFeatures, modules: names }) => ({
    inFeatures,
    modules: names.map((name) => {
      const { rank = 0, outFeatures = 0 } = modules.get(name) ?? {};
      return { outFeatures, rows: output === "sealed" ? outFeatures : Math.min(rank, outFeatures) };
    }),
  }));
}

export interface SecurityBits {
  /** HE-standard cost model. */
  readonly standard: number;
  readonly coreSvp: number;
  readonly quantumCoreSvp: number;
}

export interface SecurityFacts {
  /** What hides the user's activations. */
  readonly query: SecurityBits;
  /** What hides the adapter from who has the bundle and asks nothing. */
  readonly hint: SecurityBits;
  /** Q_func for each width: chosen vectors to one group, after which its function is known. */
  readonly functionVectors: readonly { readonly inFeatures: number; readonly vectors: number }[];
}

/** Largest over typical row norm, 1.06, and half a step of the 2^(1/4) grid on which the bound is published. */
const NORM_BOUND_OVER_TYPICAL = 1.06 * 2 ** (1 / 8);

export function securityFacts({ parameters, groups }: BundleManifest): SecurityFacts {
  const { user, hint } = securityOf(parameters);
  const bits = (estimate: typeof user): SecurityBits => ({
    standard: Math.floor(estimate.standardBits),
    coreSvp: Math.floor(estimate.coreBits),
    quantumCoreSvp: Math.floor(estimate.quantumBits),
  });
  const vectors = new Map<number, number>();
  for (const { inFeatures, normBound } of groups) {
    const stddev = normBound / NORM_BOUND_OVER_TYPICAL / Math.sqrt(inFeatures);
    const entropy = Math.max(0, weightEntropy(stddev));
    const count = Math.round(functionQueries(inFeatures, entropy, replyBits(parameters, inFeatures)));
    vectors.set(inFeatures, Math.min(count, vectors.get(inFeatures) ?? Number.POSITIVE_INFINITY));
  }
  const functionVectors = [...vectors]
    .sort(([a], [b]) => a - b)
    .map(([inFeatures, count]) => ({ inFeatures, vectors: count }));
  return { query: bits(user), hint: bits(hint), functionVectors };
}

/** "186 at width 256, 499 at width 704" */
export function showFunctionVectors({ functionVectors }: SecurityFacts): string {
  return functionVectors.map(({ inFeatures, vectors }) => `${vectors} at width ${inFeatures}`).join(", ");
}

/** What the estimates promise and what they do not. */
export const SECURITY_PROMISE =
  "These are estimates of the best published lattice attacks, and they do not protect a function from its use: a " +
  "client must receive the function's value, so after about that many activation vectors of its own choice it can " +
  "know the layer's function, which nobody can prevent; a provider chooses whom it lets ask.";
