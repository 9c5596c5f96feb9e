/**
 * Whose copy it is: a suspected adapter against the marks of all accounts of a provider (pll/marks.ts). @module
 */
import { utf8 } from "../base/bytes.ts";
import { TacetError } from "../base/errors.ts";
import { groupMark, markAmplitude, markOddsSeed } from "../pll/marks.ts";
import type { ServedAdapter } from "../provider/provider.ts";
import { evidenceOf } from "./evidence.ts";
import { projectionEvidence } from "./projection-evidence.ts";
import { groupScore, log10Innocent, type ScoredGroup, variance } from "./score.ts";
import { inUnitsOfW, type Suspect } from "./suspect.ts";

export interface AccountScore {
  readonly account: string;
  /** Standard deviations above what an account has that has nothing to do with the copy. */
  readonly score: number;
  /**
   * log₁₀ of a bound on the probability that any of the accounts scores so by chance: this account's own, times the
   * number of accounts.
   */
  readonly log10Chance: number;
  /** Whether that is below {@link VERDICT}. */
  readonly isNamed: boolean;
}

export interface TraceReport {
  readonly adapter: string;
  /** Modules of the adapter that the copy changes, and all of them. */
  readonly modules: { readonly found: number; readonly all: number };
  /**
   * Entries of W that the copy knows to within a mark, √ of their information: what a score can be at most, about, is
   * 0.64 of its root.
   */
  readonly entries: number;
  /** Highest first. */
  readonly accounts: readonly AccountScore[];
}

/** An account is named where the probability of naming an innocent one, of all, is below 10 to this. */
export const VERDICT = -9;
/** Below it, Chernoff's bound is not worth computing. */
const WORTH = 3;

/**
 * @param adapter loaded with its marks
 * @param accounts all that were ever given a key, revoked ones too
 * @throws TacetError bad_argument if the adapter has no mark secret; bad_adapter, bad_checkpoint for a copy of other
 *   sizes, or one that changes no module of the adapter
 */
export async function traceCopy(
  adapter: ServedAdapter,
  accounts: readonly string[],
  copy: Suspect,
  onProgress: (fraction: number) => void = () => {},
): Promise<TraceReport> {
  const { markSecret, bundle, layers } = adapter;
  const { manifest } = bundle;
  const { parameters } = manifest;
  if (markSecret === undefined)
    throw new TacetError("bad_argument", "the adapter was loaded without its marks");
  const names = [...new Set(accounts)];
  const sums = new Float64Array(names.length);
  const groups: ScoredGroup[] = [];
  let [found, all, entries] = [0, 0, 0];
  const scored = async (g: number): Promise<ScoredGroup> => {
    const { modules, inFeatures } = manifest.groups[g];
    const { weights } = layers[g].copyInput();
    const y = new Float32Array(weights.length);
    const odds = layers[g].oddsOf({ oddsSeed: markOddsSeed(markSecret, g) });
    const whole = new Float64Array(weights.length);
    const amplitude = markAmplitude(parameters);
    let first = 0;
    for (const [i, module] of modules.entries()) {
      all++;
      const difference = await copy.differenceOf(module.name);
      const at = first * inFeatures;
      const rows = weights.subarray(at, at + module.rows * inFeatures);
      if (difference !== undefined) {
        found++;
        const { bases, scales } = bundle.groups[g];
        const own = inUnitsOfW(difference, module, inFeatures, bases[i], scales[first]);
        whole.set(own, at);
        y.set(evidenceOf(own, rows, module.rows, amplitude), at);
      }
      first += module.rows;
    }
    const more = projectionEvidence(whole, weights, odds, weights.length / inFeatures, amplitude);
    for (let i = 0; i < y.length; i++) y[i] += more[i];
    weights.fill(0);
    return { y, odds };
  };
  for (const g of manifest.groups.keys()) {
    onProgress(g / manifest.groups.length);
    const group = await scored(g);
    groups.push(group);
    entries += variance([group]);
    for (const [a, account] of names.entries()) {
      const mark = groupMark(parameters, markSecret, utf8(account), g);
      sums[a] += groupScore(group, layers[g].markOf(mark));
    }
  }
  onProgress(1);
  if (found === 0) {
    throw new TacetError("bad_adapter", "the copy changes none of the adapter's modules", {
      hint: "is it a copy of this adapter, and are its modules called as in the base model?",
    });
  }
  const total = variance(groups);
  const scores = names.map((account, a): AccountScore => {
    const score = total === 0 ? 0 : sums[a] / Math.sqrt(total);
    const own = score < WORTH ? 0 : log10Innocent(groups, sums[a]);
    const log10Chance = Math.min(0, own + Math.log10(names.length));
    return { account, score, log10Chance, isNamed: log10Chance < VERDICT };
  });
  scores.sort((a, b) => b.score - a.score);
  return { adapter: manifest.adapter, modules: { found, all }, entries, accounts: scores };
}
