/** The main claim, for any model: private answers are plaintext's, and what differs is what the predicted noise does. */
import { expect } from "vitest";
import type { GenerateOptions } from "../../src/generation/generate.ts";
import type { CausalLm } from "../../src/model/causal-lm.ts";
import { type Answered, LogitPrediction, logitsOf } from "./logit-errors.ts";
import { cacheFor, greedyIds, type TestModel } from "./models.ts";

export interface PrivateAnswers {
  /** Printed before each line. */
  readonly label: string;
  readonly test: TestModel;
  /** The folder that the provider serves. */
  readonly state: string;
  readonly plain: CausalLm;
  /** Asks a provider. */
  readonly privately: CausalLm;
  /** With plaintext's greedy ids. */
  readonly answered: readonly Answered[];
  readonly options?: Partial<GenerateOptions>;
}

/**
 * Greedy ids through the provider are plaintext's, but for near ties: no more of them, no farther apart, and no larger
 * errors of the logits than the predicted noise explains. Prints the errors, and each tie that fell the other way.
 *
 * A healthy installation fails here less than five times in a million runs, once for each limit.
 *
 * @returns the prediction, for further limits
 */
export async function checkPrivateAnswers(input: PrivateAnswers): Promise<LogitPrediction> {
  const { label, test, state, plain, privately, answered, options } = input;
  const prediction = await LogitPrediction.of(test, state, plain, answered);
  const { gapErrorLimit, mostFlips, expectedFlips, rmsLimits, maxLimit, nearestTie } = prediction;
  let flips = 0;
  const got: Float32Array[] = [];
  for (const [a, one] of answered.entries()) {
    const { prompt, answer } = one;
    const { ids, passes } = await recordPasses(privately, () => greedyIds(privately, prompt, options));
    if (ids.join() === answer.join()) {
      // The answer's own passes, where each gave one token; those of the prompt's other tokens are asked for.
      const isWhole = passes.length === answer.length;
      got.push(
        isWhole ? await withPrompt(privately, prompt, passes.slice(1)) : await logitsOf(privately, one),
      );
      continue;
    }
    got.push(await logitsOf(privately, one));
    const { step, gap, deviations } = prediction.flip(a, ids);
    console.log(
      `${label}: answer ${a} differs from id ${step} on: a near tie, ${gap.toFixed(5)} apart, ` +
        `${deviations.toFixed(2)} standard deviations of its error`,
    );
    expect(deviations, "an answer differs where there is no near tie").toBeLessThan(gapErrorLimit);
    flips++;
  }
  const { rms, max, worstGapError, closestToTie } = prediction.compare(got);
  console.log(
    `${label}: logit error rms ${rms.toExponential(2)}, predicted ${prediction.rms.toExponential(2)}, within ` +
      `${rmsLimits.least.toExponential(2)} to ${rmsLimits.most.toExponential(2)}; max ${max.toExponential(2)}, ` +
      `predicted ${prediction.max.toExponential(2)}, limit ${maxLimit.toExponential(2)}; gaps off by ${worstGapError.toFixed(2)} standard deviations at most, ` +
      `limit ${gapErrorLimit.toFixed(2)}; nearest tie ${nearestTie.gap.toFixed(5)}, ` +
      `${nearestTie.deviations.toFixed(2)} standard deviations, came to ${closestToTie.toFixed(3)} of a gap; ` +
      `${flips} of ${answered.length} answers differ, ${expectedFlips.toPrecision(2)} expected, ${mostFlips} at most`,
  );
  expect(flips, "answers that differ").toBeLessThanOrEqual(mostFlips);
  expect(worstGapError, "error of a gap in standard deviations").toBeLessThan(gapErrorLimit);
  expect(rms, "rms error of the logits").toBeGreaterThan(rmsLimits.least);
  expect(rms, "rms error of the logits").toBeLessThan(rmsLimits.most);
  expect(max, "largest error of a logit").toBeLessThan(maxLimit);
  return prediction;
}

/** What a call is given of `forward`, in its order. */
async function recordPasses(
  model: CausalLm,
  call: () => Promise<number[]>,
): Promise<{ ids: number[]; passes: Float32Array[] }> {
  const passes: Float32Array[] = [];
  const { forward } = model;
  model.forward = async (...given) => {
    const logits = await forward.apply(model, given);
    passes.push(logits);
    return logits;
  };
  try {
    return { ids: await call(), passes };
  } finally {
    model.forward = forward;
  }
}

/** Logits of all the prompt's tokens, read anew, and those of the answer's behind them. */
async function withPrompt(
  model: CausalLm,
  prompt: readonly number[],
  answer: readonly Float32Array[],
): Promise<Float32Array> {
  const cache = cacheFor(model, prompt);
  const first = await model.forwardAll(prompt, cache);
  cache.dispose();
  const all = new Float32Array(first.length + answer.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of [first, ...answer]) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
