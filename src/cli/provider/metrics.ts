/**
 * Figures for Prometheus. Labels come from bounded sets alone: names of served adapters, error codes, reasons of
 * refusals. Never keys, accounts, addresses or anything of a query.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { ERROR_KINDS } from "../../base/errors.ts";
import type { Provider, ProviderEvent } from "../../provider/provider.ts";
import { type AnswerSeries, AnswerTimes } from "./answer-times.ts";

const ANSWER_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
];

/** Of one adapter: counted here and read when somebody asks, since a labelled counter costs more than to add. */
class AdapterCounts {
  queries = 0;
  vectors = 0;
  chargedQueries = 0;
  chargedVectors = 0;
  readonly times: AnswerSeries;

  constructor(times: AnswerSeries) {
    this.times = times;
  }
}

export class ProviderMetrics {
  readonly #registry = new Registry();
  readonly #adapters = new Map<string, AdapterCounts>();
  readonly #refusals: Counter<"code">;
  readonly #rejected: Counter<"reason">;
  readonly #faults: Counter;
  readonly #keys: Counter<"adapter">;
  readonly #keysAgain: Counter<"adapter">;
  readonly #keysWorn: Counter<"adapter">;
  readonly #seconds: AnswerTimes;

  constructor() {
    const registers = [this.#registry];
    const counter = <Label extends string>(name: string, help: string, labelNames: Label[] = []) =>
      new Counter({ name: `tacet_${name}`, help, labelNames, registers });
    const adapters = this.#adapters;
    const counted = (name: string, help: string, of: (counts: AdapterCounts) => number) =>
      new Counter({
        name: `tacet_${name}`,
        help,
        labelNames: ["adapter"],
        registers,
        collect() {
          this.reset();
          for (const [adapter, counts] of adapters) this.inc({ adapter }, of(counts));
        },
      });
    counted("queries_total", "Queries answered.", ({ queries }) => queries);
    counted("vectors_total", "Activation vectors answered.", ({ vectors }) => vectors);
    const paid = "paid for, repeats included.";
    counted("charged_queries_total", `Queries ${paid}`, ({ chargedQueries }) => chargedQueries);
    counted("charged_vectors_total", `Vectors ${paid}`, ({ chargedVectors }) => chargedVectors);
    this.#refusals = counter(
      "refusals_total",
      "Queries, requests for keys and connections refused in the protocol.",
      ["code"],
    );
    this.#rejected = counter(
      "rejected_connections_total",
      "Connections turned away or cut off below the protocol.",
      ["reason"],
    );
    this.#faults = counter("faults_total", "Faults of the provider's own.");
    this.#keys = counter("keys_total", "Keys made and sent.", ["adapter"]);
    this.#keysAgain = counter("keys_again_total", "Keys sent once more.", ["adapter"]);
    this.#keysWorn = counter("keys_worn_total", "Groups of keys that have answered their last vector.", [
      "adapter",
    ]);
    this.#seconds = new AnswerTimes({
      name: "tacet_answer_seconds",
      help: "From a query's arrival to its answer's departure.",
      bounds: ANSWER_SECONDS,
      register: this.#registry,
    });
    collectDefaultMetrics({ register: this.#registry });
  }

  /** Reads the provider's own counts whenever it is asked. */
  watch(provider: Provider): void {
    const registers = [this.#registry];
    const total = (name: string, help: string, of: () => number) =>
      new Counter({
        name: `tacet_${name}`,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(of());
        },
      });
    const gauge = (name: string, help: string, of: () => number) =>
      new Gauge({
        name: `tacet_${name}`,
        help,
        registers,
        collect() {
          this.set(of());
        },
      });
    const { totals } = provider;
    total("connections_total", "Connections accepted.", () => totals.connections);
    total("received_bytes_total", "Bytes of messages received.", () => totals.bytesIn);
    total("sent_bytes_total", "Bytes of messages sent.", () => totals.bytesOut);
    total("compute_seconds_total", "Time spent computing answers.", () => totals.computeMs / 1000);
    total("key_seconds_total", "Time spent making keys.", () => totals.keyMs / 1000);
    gauge("connections", "Connections open.", () => provider.openConnections);
    gauge("waiting_bytes", "Bytes that wait, in and out.", () => provider.waiting.bytes);
    gauge("key_secrets", "Groups of keys whose secrets are in memory.", () => provider.heldSecrets);
    gauge("in_flight_queries", "Queries that wait or are computed.", () => provider.inFlight);
    // Every series exists from the start: rates of what happens first are not lost.
    for (const adapter of provider.adapterNames) {
      this.#of(adapter);
      for (const each of [this.#keys, this.#keysAgain, this.#keysWorn]) each.inc({ adapter }, 0);
    }
    for (const [code, { wire }] of Object.entries(ERROR_KINDS))
      if (wire !== 0) this.#refusals.inc({ code }, 0);
  }

  record(event: ProviderEvent): void {
    switch (event.type) {
      case "answered": {
        const counts = this.#of(event.adapter);
        counts.queries++;
        counts.vectors += event.vectors;
        counts.times.observe(event.ms / 1000);
        break;
      }
      case "charged": {
        const counts = this.#of(event.adapter);
        counts.chargedQueries++;
        counts.chargedVectors += event.vectors;
        break;
      }
      case "key":
        (event.isRepeated ? this.#keysAgain : this.#keys).inc({ adapter: event.adapter });
        break;
      case "worn":
        this.#keysWorn.inc({ adapter: event.adapter });
        break;
      case "refused":
      case "failed":
        this.#refusals.inc({ code: event.code });
        break;
      case "fault":
        this.#faults.inc();
        break;
      default:
    }
  }

  #of(adapter: string): AdapterCounts {
    let counts = this.#adapters.get(adapter);
    if (counts === undefined) {
      counts = new AdapterCounts(this.#seconds.of(adapter));
      this.#adapters.set(adapter, counts);
    }
    return counts;
  }

  rejected(reason: string): void {
    this.#rejected.inc({ reason });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
