import type { QueryReply } from "./connection/client-connection.ts";
import type { KeySource } from "./keys.ts";

/** What an adapter needs of a provider; tests put two replicas behind one. */
export interface QueryTransport extends KeySource {
  /** Vectors of each group that the account may still ask; undefined: any number. */
  readonly budget?: { readonly left: number } | undefined;
  /** Milliseconds from Hello to Welcome. Default: 0, as of a provider in the same machine. */
  readonly welcomeMs?: number;
  query(group: number, vectors: number, ciphertext: Uint8Array, keyId: Uint8Array): Promise<QueryReply>;
  /** Calls `send`; the queries that it sends travel together, where the transport can do that. */
  together?(send: () => void): void;
}
