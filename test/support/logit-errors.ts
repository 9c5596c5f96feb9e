/**
 * Errors of the private logits beside what the predicted noise makes of them. The prediction is an experiment: the same
 * model and ids, read several times with deltas whose noise is drawn (predicted-deltas.ts). It gives for every place
 * where an id is chosen the standard deviation of the distances between the largest logits, and from that:
 *
 * - a limit for each distance's error, by Student's t since the standard deviation is estimated from SAMPLES runs;
 * - the expected number of answers in which a near tie falls the other way, and by Poisson the most that may;
 * - limits for the root-mean-square error of all logits.
 *
 * Each of the three limits is passed by a healthy installation but for one run in a million (FALSE_ALARM).
 */
import type { CausalLm } from "../../src/model/causal-lm.ts";
import type { TestModel } from "./models.ts";
import { cacheFor } from "./models.ts";
import { PredictedDeltas, readState } from "./predicted-deltas.ts";
import { poissonQuantile, studentQuantile, studentTail } from "./student.ts";

/** How often a limit fails though everything is as predicted. */
export const FALSE_ALARM = 1e-6;
/** Runs with drawn noise: an odd number, so that the degrees of freedom of their spread are even. */
const SAMPLES = 33;
const FREEDOM = SAMPLES - 1;
/** Ids beside the chosen one that are watched at each place, the likeliest ones. */
const RIVALS = 4;

/** A prompt and the ids that plaintext answers. */
export interface Answered {
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

/** Logits after each id that was read, (prompt + answer - 1, vocab): the answer one by one, as in generation. */
export async function logitsOf(model: CausalLm, { prompt, answer }: Answered): Promise<Float32Array> {
  const cache = cacheFor(model, prompt);
  const parts = [await model.forwardAll(prompt, cache)];
  for (const id of answer.slice(0, -1)) parts.push(await model.forward([id], cache));
  cache.dispose();
  const all = new Float32Array((prompt.length + answer.length - 1) * model.config.vocabSize);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** All at once: faster, the same but for the rounding of floats. */
async function logitsAtOnce(model: CausalLm, { prompt, answer }: Answered): Promise<Float32Array> {
  const cache = cacheFor(model, prompt);
  const logits = await model.forwardAll([...prompt, ...answer.slice(0, -1)], cache);
  cache.dispose();
  return logits;
}

/** How the chosen id stands to another one at one place. */
interface Rivalry {
  /** Of the logits, as they lie one after another. */
  readonly chosen: number;
  readonly other: number;
  /** Between the two logits, in plaintext. */
  readonly gap: number;
  /** Σ of squared errors of the gap, over the runs. */
  squares: number;
}

interface Place {
  readonly answered: number;
  /** Which id of the answer is chosen here. */
  readonly step: number;
  readonly rivalries: readonly Rivalry[];
}

const stddevOf = ({ squares }: Rivalry): number => Math.sqrt(squares / SAMPLES);

/** Of one run over all answers. */
interface Totals {
  squares: number;
  max: number;
  count: number;
}

export interface Comparison {
  readonly rms: number;
  readonly max: number;
  /** The largest error of a gap, in its standard deviations. */
  readonly worstGapError: number;
  /** By what part of the distance between the two largest logits it changed, at most: 1 is a tie. */
  readonly closestToTie: number;
}

export class LogitPrediction {
  readonly #answered: readonly Answered[];
  readonly #plain: readonly Float32Array[];
  readonly #places: Place[] = [];
  /** One number for each run. */
  readonly #rms: number[] = [];
  readonly #max: number[] = [];

  private constructor(answered: readonly Answered[], plain: readonly Float32Array[]) {
    this.#answered = answered;
    this.#plain = plain;
    for (const [a, { prompt, answer }] of answered.entries()) {
      const vocab = plain[a].length / (prompt.length + answer.length - 1);
      for (let step = 0; step < answer.length; step++) {
        const first = (prompt.length - 1 + step) * vocab;
        this.#places.push({ answered: a, step, rivalries: rivalriesAt(plain[a], first, vocab) });
      }
    }
  }

  /** @param state the folder that the provider serves: the scales of its weights decide how large the noise is */
  static async of(
    test: TestModel,
    state: string,
    plain: CausalLm,
    answered: readonly Answered[],
  ): Promise<LogitPrediction> {
    const logits: Float32Array[] = [];
    for (const one of answered) logits.push(await logitsAtOnce(plain, one));
    const prediction = new LogitPrediction(answered, logits);
    const deltas = new PredictedDeltas(await readState(state));
    const model = await test.withDeltas(deltas);
    try {
      for (let run = 0; run < SAMPLES; run++) {
        deltas.restart(1 + run);
        const totals: Totals = { squares: 0, max: 0, count: 0 };
        for (const [a, one] of answered.entries()) {
          const got = await logitsAtOnce(model, one);
          addErrors(totals, got, logits[a]);
          for (const { rivalries, answered } of prediction.#places) {
            if (answered !== a) continue;
            for (const rivalry of rivalries) rivalry.squares += gapError(rivalry, got) ** 2;
          }
        }
        prediction.#rms.push(Math.sqrt(totals.squares / totals.count));
        prediction.#max.push(totals.max);
      }
    } finally {
      await model.dispose();
    }
    return prediction;
  }

  /** @param got logits of each answer, as {@link logitsOf} reads them from the model in question */
  compare(got: readonly Float32Array[]): Comparison {
    const totals: Totals = { squares: 0, max: 0, count: 0 };
    for (const [a, logits] of got.entries()) addErrors(totals, logits, this.#plain[a]);
    let [worstGapError, closestToTie] = [0, 0];
    for (const { answered, rivalries } of this.#places) {
      for (const rivalry of rivalries) {
        const error = Math.abs(gapError(rivalry, got[answered]));
        worstGapError = Math.max(worstGapError, error / stddevOf(rivalry));
        if (rivalry === rivalries[0]) closestToTie = Math.max(closestToTie, error / rivalry.gap);
      }
    }
    return { rms: Math.sqrt(totals.squares / totals.count), max: totals.max, worstGapError, closestToTie };
  }

  /** Root-mean-square error of all logits, on the average of the runs. */
  get rms(): number {
    return Math.sqrt(mean(this.#rms.map((rms) => rms ** 2)));
  }

  /** The largest error of a logit, on the average of the runs. */
  get max(): number {
    return mean(this.#max);
  }

  /**
   * Between which the root-mean-square error of one more run lies. Its cube root squared is nearly Gaussian, as that of
   * every sum of squares (Wilson and Hilferty 1931).
   */
  get rmsLimits(): { readonly least: number; readonly most: number } {
    const roots = this.#rms.map((rms) => rms ** (2 / 3));
    const middle = mean(roots);
    const variance = roots.reduce((sum, root) => sum + (root - middle) ** 2, 0) / FREEDOM;
    const reach = studentQuantile(FALSE_ALARM / 2, FREEDOM) * Math.sqrt(variance * (1 + 1 / SAMPLES));
    return { least: Math.max(0, middle - reach) ** 1.5, most: (middle + reach) ** 1.5 };
  }

  /** What no gap's error reaches, in standard deviations. */
  get gapErrorLimit(): number {
    const rivalries = this.#places.reduce((sum, { rivalries }) => sum + rivalries.length, 0);
    return studentQuantile(FALSE_ALARM / (2 * rivalries), FREEDOM);
  }

  /**
   * What the largest error of a logit does not reach. Maxima of Gaussian numbers have tails below those of Gumbel's
   * distribution, by which this many standard deviations are exceeded once in 1/FALSE_ALARM runs.
   */
  get maxLimit(): number {
    const middle = this.max;
    const variance = this.#max.reduce((sum, max) => sum + (max - middle) ** 2, 0) / FREEDOM;
    const euler = 0.5772;
    const reach = ((-Math.log(FALSE_ALARM) - euler) * Math.sqrt(6)) / Math.PI;
    return middle + reach * Math.sqrt(variance);
  }

  /** A distance between two logits that its error closes less often than FALSE_ALARM, at any one place. */
  get gapLimit(): number {
    const all = this.#places.flatMap(({ rivalries }) => rivalries.map(stddevOf));
    return Math.max(...all) * studentQuantile(FALSE_ALARM, FREEDOM);
  }

  /** Expected number of answers that differ from plaintext's: a near tie falls the other way. */
  get expectedFlips(): number {
    let sum = 0;
    for (const a of this.#answered.keys()) {
      const ofAnswer = this.#places
        .filter(({ answered }) => answered === a)
        .flatMap(({ rivalries }) =>
          rivalries.map((rivalry) => studentTail(rivalry.gap / stddevOf(rivalry), FREEDOM)),
        );
      sum += Math.min(
        1,
        ofAnswer.reduce((total, chance) => total + chance, 0),
      );
    }
    return sum;
  }

  /** The most answers that may differ. */
  get mostFlips(): number {
    return poissonQuantile(this.expectedFlips, FALSE_ALARM);
  }

  /** The nearest tie: what distance of two logits, in standard deviations of its error, is the least. */
  get nearestTie(): { readonly gap: number; readonly deviations: number } {
    const all = this.#places.map(({ rivalries: [first] }) => ({
      gap: first.gap,
      deviations: first.gap / stddevOf(first),
    }));
    return all.reduce((least, one) => (one.deviations < least.deviations ? one : least));
  }

  /**
   * What is to say of an answer whose ids differ from plaintext's: how near the tie was, in logits and in standard
   * deviations of its error.
   *
   * @param ids what the private model answered
   */
  flip(answered: number, ids: readonly number[]): { step: number; gap: number; deviations: number } {
    const { prompt, answer } = this.#answered[answered];
    const plain = this.#plain[answered];
    const vocab = plain.length / (prompt.length + answer.length - 1);
    const step = answer.findIndex((id, i) => id !== ids[i]);
    if (step < 0) throw new RangeError("the ids are equal");
    const place = this.#places.find((one) => one.answered === answered && one.step === step)!;
    const other = (prompt.length - 1 + step) * vocab + ids[step];
    const rivalry = place.rivalries.find((one) => one.other === other);
    // Not one of the likeliest: no near tie.
    if (!rivalry) return { step, gap: Number.POSITIVE_INFINITY, deviations: Number.POSITIVE_INFINITY };
    return { step, gap: rivalry.gap, deviations: rivalry.gap / stddevOf(rivalry) };
  }
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function gapError({ chosen, other, gap }: Rivalry, got: Float32Array): number {
  return got[chosen] - got[other] - gap;
}

function addErrors(totals: Totals, got: Float32Array, want: Float32Array): void {
  if (got.length !== want.length) throw new RangeError("not the same ids");
  for (let i = 0; i < got.length; i++) {
    const error = got[i] - want[i];
    totals.squares += error * error;
    totals.max = Math.max(totals.max, Math.abs(error));
  }
  totals.count += got.length;
}

function rivalriesAt(logits: Float32Array, first: number, vocab: number): Rivalry[] {
  const best: number[] = [];
  for (let i = first; i < first + vocab; i++) {
    if (best.length > RIVALS && !(logits[i] > logits[best[RIVALS]])) continue;
    best.push(i);
    best.sort((a, b) => logits[b] - logits[a]);
    best.length = Math.min(best.length, RIVALS + 1);
  }
  const [chosen, ...others] = best;
  return others.map((other) => ({ chosen, other, gap: logits[chosen] - logits[other], squares: 0 }));
}
