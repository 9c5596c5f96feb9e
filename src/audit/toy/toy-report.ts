/**
 * The lattice attacks end to end, at sizes that a laptop breaks: what the estimates of the real sizes stand on.
 *
 * | what | expected |
 * |---|---|
 * | H alone, the key used for too many vectors | W comes out |
 * | H alone, the key retired in time | nothing |
 * | B with W known, used for too many vectors | S comes out |
 * | B with W known, retired in time | nothing |
 * | two keys of one W, both used too long: B − B̃ | the difference of the secrets comes out |
 * | two keys, both retired in time | nothing |
 * | a key of 48 entries, not used, errors as wide as the product's | W comes out |
 */
import type { RandomSource } from "../../ring/random-source.ts";
import { bestMargin, type SmallLwe } from "./lattice-attack.ts";
import {
  differenceLwe,
  hintLwe,
  knownWeightsLwe,
  openedShare,
  rightShare,
  solve,
  TOY_PARAMETERS,
  TOY_REAL_ERRORS,
  toyLayer,
  usedKey,
} from "./toy-key.ts";

export interface ToyRow {
  readonly what: string;
  /** LWE dimension of the instance. */
  readonly dimension: number;
  /** By how many bits LLL should succeed with the best number of samples; below 0 it should not with any. */
  readonly margin: number;
  /** Share of what is sought that lattice reduction found. */
  readonly found: number;
  /** Whether it should. */
  readonly expected: boolean;
}

/** Vectors that a toy key may answer, and too many of them: two entries of S each, of 112. */
const IN_TIME = 6;
const TOO_LONG = 42;
/** Rows that {@link toyRows} gives. */
export const TOY_ROWS = 7;

/** A row after the other: each takes seconds, and whoever runs them may do something else in between. */
export async function* toyRows(random: RandomSource): AsyncGenerator<ToyRow, void, void> {
  const toy = toyLayer(TOY_PARAMETERS, random);
  for (const [vectors, expected] of [
    [TOO_LONG, true],
    [IN_TIME, false],
  ] as const) {
    const when = expected ? `used for ${vectors} vectors` : `retired after ${vectors}`;
    const [one, two] = [await usedKey(toy, vectors, random), await usedKey(toy, vectors, random)];
    const row = (what: string, lwe: SmallLwe, found: number): ToyRow => ({
      what: `${what}, ${when}`,
      dimension: lwe.dimension,
      margin: bestMargin(lwe),
      found,
      expected,
    });
    const [hint, known, difference] = [hintLwe(one), knownWeightsLwe(one), differenceLwe(one, two)];
    yield row("H alone", hint, openedShare(one, solve(hint)));
    yield row("B, W known", known, rightShare(solve(known), one.secret));
    // Then S − S̃ is known, and neither of them nor W.
    const sought = one.secret.map((value, j) => value - two.secret[j]);
    yield row("B - B' of two keys", difference, rightShare(solve(difference), sought));
  }
  const short = await usedKey(toyLayer(TOY_REAL_ERRORS, random), 0, random);
  const lwe = hintLwe(short);
  yield {
    what: "H alone, real errors, 48 entries, unused",
    dimension: lwe.dimension,
    margin: bestMargin(lwe),
    found: openedShare(short, solve(lwe)),
    expected: true,
  };
}
