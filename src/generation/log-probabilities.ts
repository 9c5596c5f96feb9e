/** How likely the model held a token to be: log softmax of its logits. */

/** One of the likeliest tokens. */
export interface TokenLogprob {
  readonly id: number;
  /** Natural logarithm of the probability. */
  readonly logprob: number;
}

export interface Logprobs extends TokenLogprob {
  /** The likeliest tokens, falling; the smaller id first among equals. */
  readonly top: readonly TokenLogprob[];
}

/**
 * log softmax(logits) at an id and at the `most` largest logits: the model's own probabilities, before temperature,
 * penalties and cuts.
 */
export function logProbabilities(logits: Float32Array, id: number, most: number): Logprobs {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const logSum = largest + Math.log(sum);
  const at = (token: number): TokenLogprob => ({ id: token, logprob: logits[token] - logSum });
  return { ...at(id), top: largestIds(logits, most).map(at) };
}

/** Ids of the `most` largest logits, falling. */
function largestIds(logits: Float32Array, most: number): number[] {
  const ids: number[] = [];
  if (most === 0) return ids;
  for (let id = 0; id < logits.length; id++) {
    if (ids.length === most && logits[id] <= logits[ids[most - 1]]) continue;
    let at = ids.length;
    while (at > 0 && logits[ids[at - 1]] < logits[id]) at--;
    ids.splice(at, 0, id);
    if (ids.length > most) ids.pop();
  }
  return ids;
}
