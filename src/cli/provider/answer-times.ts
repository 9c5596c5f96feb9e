/**
 * A histogram for Prometheus of times that are observed for every query: prom-client's own looks its labels up by a text
 * that it makes for each observation, which costs as much as a third of an answer.
 */
import type { MetricValueWithName, Registry } from "prom-client";

/** What is registered: all that a registry asks of a metric. */
type Registered = Parameters<Registry["registerMetric"]>[0];

export interface AnswerTimesOptions {
  readonly name: string;
  readonly help: string;
  /** Upper bounds in seconds, ascending. */
  readonly bounds: readonly number[];
  readonly register: Registry;
}

export class AnswerTimes {
  readonly #options: AnswerTimesOptions;
  readonly #series = new Map<string, AnswerSeries>();

  constructor(options: AnswerTimesOptions) {
    this.#options = options;
    const { name, help, register } = options;
    register.registerMetric({ name, help, get: () => this.#values() } as unknown as Registered);
  }

  /** What is observed of an adapter, made at the first call. */
  of(adapter: string): AnswerSeries {
    let series = this.#series.get(adapter);
    if (series === undefined) this.#series.set(adapter, (series = new AnswerSeries(this.#options.bounds)));
    return series;
  }

  async #values() {
    const { name, help, bounds } = this.#options;
    const values: MetricValueWithName<"adapter" | "le">[] = [];
    for (const [adapter, { counts, sum }] of this.#series) {
      let count = 0;
      const bucket = (le: number | string, value: number) =>
        values.push({ metricName: `${name}_bucket`, labels: { le, adapter }, value });
      for (const [i, le] of bounds.entries()) bucket(le, (count += counts[i]));
      count += counts[bounds.length];
      bucket("+Inf", count);
      values.push({ metricName: `${name}_sum`, labels: { adapter }, value: sum });
      values.push({ metricName: `${name}_count`, labels: { adapter }, value: count });
    }
    return { name, help, type: "histogram", values, aggregator: "sum" };
  }
}

/** The times of one adapter. */
export class AnswerSeries {
  /** Times above one bound and not above the next; the last are above all. */
  readonly counts: Float64Array;
  sum = 0;
  readonly #bounds: readonly number[];

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(seconds: number): void {
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && seconds > bounds[i]) i++;
    this.counts[i]++;
    this.sum += seconds;
  }
}
