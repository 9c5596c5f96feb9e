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
import {
  differenceLwe,
  hintLwe,
  knownWeightsLwe,
  openedShare,
  solve,
  TOY_PARAMETERS,
  TOY_REAL_ERRORS,
  toyLayer,
  type ToyKey,
  usedKey,
} from "./toy-key.ts";

export interface ToyRow {
  readonly what: string;
  /** LWE dimension of the instance. */
  readonly dimension: number;
  /** Share of what is sought that lattice reduction found. */
  readonly found: number;
  /** Whether it should. */
  readonly expected: boolean;
}

/** Vectors that a toy key may answer, and too many of them: two entries of S each, of 80. */
const IN_TIME = 12;
const TOO_LONG = 26;
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
    const dimension = TOY_PARAMETERS.keyLength - one.read.length;
    const row = (what: string, found: number): ToyRow => ({
      what: `${what}, ${when}`,
      dimension,
      found,
      expected,
    });
    yield row("H alone", openedShare(one, solve(hintLwe(one))));
    yield row("B, W known", openedShare(one, solve(knownWeightsLwe(one))));
    yield row("B - B' of two keys", differenceShare(one, two));
  }
  const short = await usedKey(toyLayer(TOY_REAL_ERRORS, random), 0, random);
  yield {
    what: "H alone, real errors, 48 entries, unused",
    dimension: TOY_REAL_ERRORS.keyLength,
    found: openedShare(short, solve(hintLwe(short))),
    expected: true,
  };
}

/** 1 if the difference of the secrets explains B − B̃: then S − S̃ is known, and neither S nor W. */
function differenceShare(one: ToyKey, two: ToyKey): number {
  return solve(differenceLwe(one, two)) === undefined ? 0 : 1;
}
