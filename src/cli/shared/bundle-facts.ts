/** What a bundle costs and what it is estimated to withstand. docs/parameters.md has the derivations. */
import type { BundleManifest, OutputMode } from "../../bundle/manifest.ts";
import { packedBytes, RING_DEGREE } from "../../ring/kernels.ts";
import { afterQueries, layerFunctionQueries, weightStddevOf } from "../../rlwe/extraction.ts";
import { type AttackEstimates, attacksOn } from "../../rlwe/parameter-security.ts";
import { layoutOf, type Parameters, replyBits, uploadBits } from "../../rlwe/parameters.ts";
import { encodeClientFrame, encodeProviderFrame } from "../../wire/frames.ts";

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
  /** HE-standard cost model, the cheaper attack. */
  readonly standard: number;
  readonly coreSvp: number;
  readonly quantumCoreSvp: number;
  /** Core-SVP bits of each attack. */
  readonly primal: number;
  readonly dual: number;
}

/** What the hint of a layer of this width hides from somebody who has asked so many vectors of his choice. */
export interface HintAfterQueries {
  readonly inFeatures: number;
  readonly vectors: number;
  readonly bitsKnown: number;
  readonly dimension: number;
  readonly coreSvp: number;
  readonly standard: number;
}

export interface SecurityFacts {
  /** What hides the user's activations. */
  readonly query: SecurityBits;
  /** What hides the adapter from who has the bundle and asks nothing. */
  readonly hint: SecurityBits;
  /**
   * Q_func for each width; null for sealed output: W = BA has low rank there, so what is known of all rows together
   * fixes a column, and fewer vectors than n·h_A/b0 are enough.
   */
  readonly functionVectors: readonly FunctionVectors[] | null;
  /** At half of Q_func and at Q_func, for each width; null where Q_func is. */
  readonly afterVectors: readonly HintAfterQueries[] | null;
}

/** Chosen vectors to one group of this width, after which its function is known. */
export interface FunctionVectors {
  readonly inFeatures: number;
  readonly vectors: number;
}

export function securityFacts({ parameters, groups }: BundleManifest): SecurityFacts {
  const { user, hint } = attacksOn(parameters);
  const bits = { query: bitsOf(user), hint: bitsOf(hint) };
  if (groups.some(({ output }) => output === "sealed")) {
    return { ...bits, functionVectors: null, afterVectors: null };
  }
  /** σ_W of the layer of each width whose function takes the fewest vectors. */
  const narrowest = new Map<number, number>();
  for (const { inFeatures, normBound } of groups) {
    const stddev = weightStddevOf(normBound, inFeatures);
    narrowest.set(inFeatures, Math.min(stddev, narrowest.get(inFeatures) ?? Number.POSITIVE_INFINITY));
  }
  const layers = [...narrowest]
    .sort(([a], [b]) => a - b)
    .map(([inFeatures, stddev]) => {
      const vectors = Math.round(layerFunctionQueries(parameters, inFeatures, stddev));
      return { inFeatures, stddev, vectors };
    });
  return {
    ...bits,
    functionVectors: layers.map(({ inFeatures, vectors }) => ({ inFeatures, vectors })),
    afterVectors: layers.flatMap(({ inFeatures, stddev, vectors }) =>
      [0.5, 1].map((part): HintAfterQueries => {
        const left = afterQueries(parameters, inFeatures, stddev, Math.round(part * vectors));
        return {
          inFeatures,
          vectors: left.queries,
          bitsKnown: left.bits,
          dimension: left.dimension,
          coreSvp: Math.floor(left.estimate.coreBits),
          standard: Math.floor(left.estimate.standardBits),
        };
      }),
    ),
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

/** "186 at width 256, 499 at width 704: chosen vectors for all" */
export function showFunctionVectors({ functionVectors }: SecurityFacts): string {
  if (functionVectors === null) return "no figure: sealed output does not raise the number of queries";
  const each = functionVectors.map(({ inFeatures, vectors }) => `${vectors} at width ${inFeatures}`);
  return `${each.join(", ")}: chosen vectors for all`;
}

/** What the estimates promise and what they do not. */
export function securityPromise({ functionVectors }: SecurityFacts): string {
  const estimates =
    "These are estimates of the best published lattice attacks, and they do not protect a function from its use: a " +
    "client must receive the function's value, so ";
  return functionVectors === null
    ? `${estimates}${SEALED}`
    : `${estimates}after about that many activation vectors of its own choice it can know the layer's function, ` +
        "which nobody can prevent; a provider chooses whom it lets ask.";
}

/** Why sealed output has no figure. */
const SEALED =
  "with enough activation vectors of its own choice it can know the layer's function, which nobody can prevent. Sealed " +
  "output needs fewer of them than public-basis: its matrix has low rank, so what replies say of all rows together " +
  "fixes a column. It will be removed in the next version of the protocol.";
