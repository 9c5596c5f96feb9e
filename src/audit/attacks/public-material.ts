/**
 * What the public files say without a query: the hint alone, and two versions of one adapter.
 *
 * - Hint only: decision-LWE of dimension n_pad in every row, whatever W is (docs/security.md); estimated at the real
 *   size, broken end to end at toy size without padding (toy/toy-report.ts).
 * - Two versions: with one P for both, H_2 − H_1 = (W_2 − W_1)·C + (E_2 − E_1) would have no padding left, so P, E and
 *   the public elements are fresh in every bundle; the difference is then as uniform as either.
 *
 * Sources: docs/parameters.md §Security; tests of uniformity after Knuth, TAOCP 2, §3.3.1.
 */
import { estimateLwe } from "../../rlwe/lattice-estimate.ts";
import { securityOf } from "../../rlwe/parameter-security.ts";
import type { Attack, AttackContext, AttackResult } from "../attack.ts";
import { correlationZ, uniformityZ } from "../hint-statistics.ts";
import { hintWords } from "../oracle.ts";

async function runHint({ view }: AttackContext): Promise<AttackResult[]> {
  const { parameters, inFeatures: n, weightStddev } = view;
  const { hint } = securityOf(parameters);
  const unpadded = estimateLwe({
    dimension: n,
    logQ: parameters.logQ,
    secretStddev: weightStddev,
    errorStddev: parameters.hintErrorStddev,
    samples: parameters.ringDegree,
  });
  const z = uniformityZ(hintWords(view.tensors.hint, parameters.hintBits));
  return [
    {
      attack: "hint",
      variant: "the hint alone",
      points: [],
      facts: {
        coreBits: hint.coreBits,
        standardBits: hint.standardBits,
        unpaddedCoreBits: unpadded.coreBits,
        uniformityZ: z,
      },
      finding:
        `${hint.coreBits.toFixed(0)} core bits (${hint.standardBits.toFixed(0)} std) for every n; without padding it ` +
        `would be ${unpadded.coreBits > 1000 ? "over 1000" : unpadded.coreBits.toFixed(0)} at this n; its words are ` +
        `${z.toFixed(1)} deviations from uniform`,
    },
  ];
}

export const hintOnly: Attack = { name: "hint", title: "the hint alone", source: "review B", run: runHint };

async function runVersions({ view, otherHint }: AttackContext): Promise<AttackResult[]> {
  const { hintBits } = view.parameters;
  const first = hintWords(view.tensors.hint, hintBits);
  const second = hintWords(await otherHint(), hintBits);
  const difference = first.map((word, i) => second[i] - word);
  const [uniform, correlated] = [uniformityZ(difference), correlationZ(first, second)];
  return [
    {
      attack: "versions",
      variant: "two bundles of one adapter",
      points: [],
      facts: { uniformityZ: uniform, correlationZ: correlated },
      finding:
        `the difference of two versions' hints is ${uniform.toFixed(1)} deviations from uniform words, their ` +
        `correlation ${correlated.toFixed(1)}: nothing cancels`,
    },
  ];
}

export const versionDifference: Attack = {
  name: "versions",
  title: "two versions of one adapter, differenced",
  source: "Tacet's own",
  run: runVersions,
};
