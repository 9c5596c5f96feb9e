/** What a provider tells its operator: events one by one, and their sums. */

/** Who a connection belongs to, as far as that is known: an operator's names, none of them a secret. */
export interface ClientName {
  /** Network address. */
  readonly address?: string;
  /** Public name of the API key, also of one that is refused because it has ended. */
  readonly keyId?: string;
  readonly account?: string;
}

/** What a provider tells its operator. Never activations, ciphertexts, keys or weights. */
export type ProviderEvent =
  | { readonly type: "connected"; readonly connection: number }
  /** A query was paid for; a repeat is counted here and not charged again. */
  | {
      readonly type: "charged";
      readonly connection: number;
      readonly adapter: string;
      readonly vectors: number;
    }
  | {
      readonly type: "answered";
      readonly connection: number;
      readonly adapter: string;
      /** The client's number of the query. */
      readonly query: number;
      readonly vectors: number;
      /** From the query's arrival to its answer's departure, waiting included. */
      readonly ms: number;
    }
  /** A key was made and sent, or sent again. */
  | {
      readonly type: "key";
      readonly connection: number;
      readonly adapter: string;
      /** Whether it had been made before. */
      readonly isRepeated: boolean;
      /** Milliseconds of computing. */
      readonly ms: number;
      readonly bytes: number;
    }
  /** A key has answered its last vector of a group. */
  | {
      readonly type: "worn";
      readonly connection: number;
      readonly adapter: string;
      readonly group: number;
    }
  /** A query or a request for a key was refused; the connection goes on. */
  | ({
      readonly type: "failed";
      readonly connection: number;
      /** The client's number of the query; absent: of a request for a key. */
      readonly query?: number;
      readonly keyRequest?: number;
      readonly code: string;
    } & ClientName)
  | ({ readonly type: "welcomed"; readonly connection: number; readonly adapter: string } & ClientName)
  | ({ readonly type: "refused"; readonly connection: number; readonly code: string } & ClientName)
  | { readonly type: "closed"; readonly connection: number; readonly code: number; readonly vectors: number }
  | { readonly type: "fault"; readonly connection: number; readonly name: string };

/** Totals since the start. */
export interface ProviderTotals {
  connections: number;
  queries: number;
  vectors: number;
  bytesIn: number;
  bytesOut: number;
  failures: number;
  /** Milliseconds spent on answers. */
  computeMs: number;
  /** Keys that were sent. */
  keys: number;
  /** Milliseconds spent on keys. */
  keyMs: number;
}
