/**
 * What keys say without a query, and many of them together.
 *
 * - One unused key: (B, H) is LWE under S, pseudorandom whatever W is (docs/security.md); estimated at the real size.
 * - Two keys: B − B̃ has no W in it; it is LWE under S − S̃, as uniform as either.
 * - Many keys: they all encrypt one W, but mod q an average converges only if words are not uniform.
 * - Two versions of an adapter: other public elements, another rotation, another S.
 *
 * Sources: docs/parameters.md §Security; tests of uniformity after Knuth, TAOCP 2, §3.3.1.
 */
import { securityOf } from "../../rlwe/parameter-security.ts";
import type { Attack, AttackContext, AttackResult } from "../attack.ts";
import { correlationZ, meanPhase, uniformityZ } from "../key-statistics.ts";
import { percent } from "../../base/show-number.ts";
import type { StolenKey } from "../stolen-key.ts";

async function runKey({ view, open }: AttackContext): Promise<AttackResult[]> {
  const { freshKey } = securityOf(view.parameters);
  const { weights, hint } = await (await open()).fetchKey();
  const [b, h] = [uniformityZ(weights), uniformityZ(hint)];
  return [
    {
      attack: "key",
      variant: "one unused key",
      points: [],
      facts: {
        coreBits: freshKey.coreBits,
        standardBits: freshKey.standardBits,
        weightsZ: b,
        hintZ: h,
      },
      finding:
        `${freshKey.coreBits.toFixed(0)} core bits (${freshKey.standardBits.toFixed(0)} std) for every n; its words are ` +
        `${b.toFixed(1)} (B) and ${h.toFixed(1)} (H) deviations from uniform`,
    },
  ];
}

export const unusedKey: Attack = {
  name: "key",
  title: "a key alone",
  source: "docs/parameters.md",
  run: runKey,
};

/** Keys that are averaged, of so many accounts. */
const KEYS = 16;
const ACCOUNTS = 4;

async function runDifference({ view, open }: AttackContext): Promise<AttackResult[]> {
  const { keyDifference } = securityOf(view.parameters);
  const keys: StolenKey[] = [];
  for (let account = 0; account < ACCOUNTS; account++) {
    const oracle = await open();
    for (let i = 0; i < KEYS / ACCOUNTS; i++) keys.push(await oracle.fetchKey());
  }
  const [first, second] = keys;
  const last = keys[KEYS - 1]; // of another account
  const same = uniformityZ(first.weights.map((word, i) => word - second.weights[i]));
  const across = uniformityZ(first.weights.map((word, i) => word - last.weights[i]));
  const correlated = correlationZ(first.weights, last.weights);
  const phase = meanPhase(keys.map(({ weights }) => weights));
  return [
    {
      attack: "difference",
      variant: "two keys, of one account and of two",
      points: [],
      facts: {
        uniformityZ: same,
        uniformityAcrossZ: across,
        correlationZ: correlated,
        coreBits: keyDifference.coreBits,
        standardBits: keyDifference.standardBits,
      },
      finding:
        `B − B̃, in which W cancels, is ${same.toFixed(1)} deviations from uniform words for one account, ` +
        `${across.toFixed(1)} for two, the correlation ${correlated.toFixed(1)}; both worn, ` +
        `${keyDifference.standardBits.toFixed(0)} std bits are left`,
    },
    {
      attack: "difference",
      variant: `the average of ${KEYS} keys`,
      points: [],
      facts: { keys: KEYS, meanPhase: phase },
      finding:
        `the mean of ${KEYS} keys' phases e^(2πiB/q) has ${percent(phase)} of the square that uniform words have: mod q ` +
        "nothing converges",
    },
  ];
}

export const keyDifference: Attack = {
  name: "difference",
  title: "many keys of one W: differences and averages",
  source: "Tacet's own",
  run: runDifference,
};

async function runVersions({ open, situations }: AttackContext): Promise<AttackResult[]> {
  const other = await situations.otherVersion?.();
  if (other === undefined) return [];
  const first = (await (await open()).fetchKey()).weights;
  const second = (await other.fetchKey()).weights;
  const uniform = uniformityZ(first.map((word, i) => second[i] - word));
  const correlated = correlationZ(first, second);
  return [
    {
      attack: "versions",
      variant: "two bundles of one adapter",
      points: [],
      facts: { uniformityZ: uniform, correlationZ: correlated },
      finding:
        `the difference of two versions' encrypted weights is ${uniform.toFixed(1)} deviations from uniform words, their ` +
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
