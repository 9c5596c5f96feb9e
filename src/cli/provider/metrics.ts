/**
 * Figures for Prometheus. Labels come from bounded sets alone: names of served adapters, error codes, reasons of
 * refusals. Never keys, accounts, addresses or anything of a query.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { ERROR_KINDS } from "../../base/errors.ts";
import type { Provider, ProviderEvent } from "../../provider/provider.ts";

const ANSWER_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
];

export class ProviderMetrics {
  readonly #registry = new Registry();
  readonly #queries: Counter<"adapter">;
  readonly #vectors: Counter<"adapter">;
  readonly #chargedQueries: Counter<"adapter">;
  readonly #chargedVectors: Counter<"adapter">;
  readonly #refusals: Counter<"code">;
  readonly #rejected: Counter<"reason">;
  readonly #faults: Counter;
  readonly #keys: Counter<"adapter">;
  readonly #keysAgain: Counter<"adapter">;
  readonly #seconds: Histogram<"adapter">;

  constructor() {
    const registers = [this.#registry];
    const counter = <Label extends string>(name: string, help: string, labelNames: Label[] = []) =>
      new Counter({ name: `tacet_${name}`, help, labelNames, registers });
    this.#queries = counter("queries_total", "Queries answered.", ["adapter"]);
    this.#vectors = counter("vectors_total", "Activation vectors answered.", ["adapter"]);
    this.#chargedQueries = counter("charged_queries_total", "Queries paid for, repeats included.", [
      "adapter",
    ]);
    this.#chargedVectors = counter("charged_vectors_total", "Vectors paid for, repeats included.", [
      "adapter",
    ]);
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
    this.#seconds = new Histogram({
      name: "tacet_answer_seconds",
      help: "From a query's arrival to its answer's departure.",
      labelNames: ["adapter"],
      buckets: ANSWER_SECONDS,
      registers,
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
      for (const each of [this.#queries, this.#vectors, this.#chargedQueries, this.#chargedVectors]) {
        each.inc({ adapter }, 0);
      }
      for (const each of [this.#keys, this.#keysAgain]) each.inc({ adapter }, 0);
    }
    for (const [code, { wire }] of Object.entries(ERROR_KINDS))
      if (wire !== 0) this.#refusals.inc({ code }, 0);
  }

  record(event: ProviderEvent): void {
    switch (event.type) {
      case "answered":
        this.#queries.inc({ adapter: event.adapter });
        this.#vectors.inc({ adapter: event.adapter }, event.vectors);
        this.#seconds.observe({ adapter: event.adapter }, event.ms / 1000);
        break;
      case "charged":
        this.#chargedQueries.inc({ adapter: event.adapter });
        this.#chargedVectors.inc({ adapter: event.adapter }, event.vectors);
        break;
      case "key":
        (event.isRepeated ? this.#keysAgain : this.#keys).inc({ adapter: event.adapter });
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
