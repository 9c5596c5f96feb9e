/**
 * How far one model's logits are from another's for the same ids, position by position. With p and q the distributions
 * of the first and the second, l and m their logits less their mean over the vocabulary:
 *
 *   relative rms = √(Σ (m − l)² / Σ l²)        KL = Σ p·ln(p/q), in nats        perplexity = exp(−mean ln p(next id))
 *
 * A constant added to all logits changes no distribution, so means are taken away before logits are compared.
 */

export interface LogitDifferences {
  /** Positions that were compared. */
  readonly positions: number;
  readonly relativeRms: number;
  readonly kl: number;
  readonly largestKl: number;
  /** Positions at which both find the same id likeliest. */
  readonly sameLikeliest: number;
  readonly perplexity: number;
  readonly perplexityOfOther: number;
}

export class LogitComparison {
  #positions = 0;
  #squares = 0;
  #spread = 0;
  #kl = 0;
  #largestKl = 0;
  #sameLikeliest = 0;
  #logLikelihood = 0;
  #logLikelihoodOfOther = 0;

  /** One position. @param next the id that follows in the text */
  add(logits: Float32Array, other: Float32Array, next: number): void {
    const [p, q] = [summaryOf(logits), summaryOf(other)];
    let kl = 0;
    for (let id = 0; id < logits.length; id++) {
      const l = logits[id] - p.mean;
      const difference = other[id] - q.mean - l;
      this.#squares += difference * difference;
      this.#spread += l * l;
      const logP = logits[id] - p.logSum;
      kl += Math.exp(logP) * (logP - (other[id] - q.logSum));
    }
    this.#positions++;
    this.#kl += kl;
    this.#largestKl = Math.max(this.#largestKl, kl);
    if (p.likeliest === q.likeliest) this.#sameLikeliest++;
    this.#logLikelihood += logits[next] - p.logSum;
    this.#logLikelihoodOfOther += other[next] - q.logSum;
  }

  get differences(): LogitDifferences {
    const positions = this.#positions;
    return {
      positions,
      relativeRms: Math.sqrt(this.#squares / this.#spread),
      kl: this.#kl / positions,
      largestKl: this.#largestKl,
      sameLikeliest: this.#sameLikeliest,
      perplexity: Math.exp(-this.#logLikelihood / positions),
      perplexityOfOther: Math.exp(-this.#logLikelihoodOfOther / positions),
    };
  }
}

/** logSum = ln Σ exp(logits) */
function summaryOf(logits: Float32Array): { mean: number; logSum: number; likeliest: number } {
  let likeliest = 0;
  let sum = 0;
  for (let id = 0; id < logits.length; id++) {
    sum += logits[id];
    if (logits[id] > logits[likeliest]) likeliest = id;
  }
  const largest = logits[likeliest];
  let exponentials = 0;
  for (let id = 0; id < logits.length; id++) exponentials += Math.exp(logits[id] - largest);
  return { mean: sum / logits.length, logSum: largest + Math.log(exponentials), likeliest };
}
