/** What the page and its worker say to each other. The worker holds the model and all keys; the page shows. */

/** Served by `tacet web` as settings.json. */
export interface Settings {
  readonly model: {
    readonly name: string;
    readonly files: readonly { readonly path: string; readonly size: number }[];
    readonly version: string;
  };
  /** URLs of the provider's replicas. */
  readonly provider: readonly string[];
  /** Name of the adapter; the provider's first one if absent. */
  readonly adapter?: string;
  /** SHA-256 that the bundle must have. */
  readonly bundleDigest?: string;
  /** Whether the model is made for more than one question at a time. */
  readonly conversation: boolean;
}

export type Side = "base" | "private";

export interface AskOptions {
  readonly maxNewTokens: number;
  /** 0: the likeliest token each time. */
  readonly temperature: number;
  /** False: each question stands by itself. */
  readonly keepConversation: boolean;
}

export type ToWorker =
  | { readonly type: "start"; readonly settings: Settings; readonly token: string; readonly page: string }
  | { readonly type: "ask"; readonly turn: number; readonly text: string; readonly options: AskOptions }
  | { readonly type: "stop" }
  /** Begins a new conversation. */
  | { readonly type: "reset" };

/** Sums of one private answer. */
export interface GroupTime {
  /** Such as "layer 3: q, k, v". */
  readonly name: string;
  /** Milliseconds: base model until the query, encryption included. */
  modelMs: number;
  /** From the query until its answer, without what the provider computed. */
  wireMs: number;
  providerMs: number;
  queries: number;
}

export interface Seen {
  /** The last query's ciphertext. */
  readonly ciphertext: Uint8Array;
  readonly group: string;
  readonly queries: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export interface Ready {
  readonly adapter: string;
  readonly bundleDigest: string;
  readonly layers: number;
  readonly groups: number;
  readonly contextLength: number;
  /** log2 of the estimated cost of reading the user's ciphertexts, and of reading the hint. */
  readonly userBits: number;
  readonly hintBits: number;
}

export type FromWorker =
  | { readonly type: "progress"; readonly stage: string; readonly fraction: number }
  | { readonly type: "ready"; readonly ready: Ready }
  | { readonly type: "text"; readonly turn: number; readonly side: Side; readonly text: string }
  | {
      readonly type: "done";
      readonly turn: number;
      readonly side: Side;
      readonly ids: readonly number[];
      readonly milliseconds: number;
      readonly reason: string;
    }
  | { readonly type: "seen"; readonly seen: Seen }
  | { readonly type: "times"; readonly groups: readonly GroupTime[] }
  | {
      readonly type: "failed";
      /** Absent: the page cannot go on. */
      readonly turn?: number;
      readonly code: string;
      readonly message: string;
      readonly hint: string;
    };
