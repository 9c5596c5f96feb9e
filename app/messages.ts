/** What the page and its worker say to each other. The worker holds the model and all keys; the page shows. */
import type { Device } from "../src/base/device.ts";
import type { WeightFormat } from "../src/model/weights/weight-source.ts";
import type { DraftCounts, DraftLimits } from "../src/generation/drafts/drafting.ts";

/** What the base model runs on in this page. */
export interface RunsOn {
  readonly device: Device;
  /** Of the processor. */
  readonly threads: number;
  readonly weights: WeightFormat;
  /** What the browser says of the GPU. */
  readonly gpu?: string | undefined;
  /** Why it does not run on the GPU that is there. */
  readonly without?: string | undefined;
}

/** Served by `tacet web` as settings.json. */
export interface Settings {
  readonly model: {
    readonly name: string;
    readonly files: readonly { readonly path: string; readonly size: number }[];
    readonly version: string;
  };
  /** Where the model runs. Default: on a GPU that can, else on the processor. */
  readonly device?: "cpu" | "webgpu";
  /** How its weights are held. Default: as in the files. */
  readonly weights?: WeightFormat;
  /** Paths of the page's own files, "" for the page itself. */
  readonly app: readonly string[];
  /** URLs of the provider's replicas. */
  readonly provider: readonly string[];
  /** Name of the adapter; the provider's first one if absent. */
  readonly adapter?: string;
  /** SHA-256 that the bundle must have. */
  readonly bundleDigest?: string;
  /** Ed25519 public key that must have signed the bundle, in hex. */
  readonly providerKey?: string;
  /** The adapter's provider may learn where in a prompt it is invoked. */
  readonly allowInvocation?: boolean;
  /** A public adapter to draft with, as the page is given its files. */
  readonly draftAdapter?: Pick<Settings["model"], "files" | "version">;
  /** What drafts of private answers may cost. */
  readonly drafts?: DraftLimits;
  /** The base model is a dictionary: it knows one word at a time and no conversation. */
  readonly dictionary?: { readonly examples: readonly string[] };
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
  | { readonly type: "start"; readonly settings: Settings; readonly page: string }
  /** Connect now, with this key. */
  | { readonly type: "key"; readonly token: string }
  /** Connect now. */
  | { readonly type: "retry" }
  | {
      readonly type: "ask";
      readonly turn: number;
      readonly text: string;
      /** Answer the last question once more. */
      readonly again: boolean;
      readonly options: AskOptions;
    }
  | { readonly type: "stop" }
  /** Begins a new conversation. */
  | { readonly type: "reset" };

/** Sums of one private answer. */
export interface GroupTime {
  /** Such as "layer 3, attention (q, k, v)". */
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
  /** Without keys. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly keys: number;
  readonly keyBytes: number;
}

export interface Ready {
  readonly adapter: string;
  readonly bundleDigest: string;
  readonly layers: number;
  readonly groups: number;
  readonly contextLength: number;
  /** How the base model is stored, if it is a quantized copy: it was then checked by less than all its weights. */
  readonly baseStoredAs: string | undefined;
  /** log2 of the estimated cost of reading the user's ciphertexts, and of reading the adapter in its keys. */
  readonly userBits: number;
  readonly keyBits: number;
  /** Tokens that one key serves. */
  readonly tokensPerKey: number;
}

/** What the provider says is left. */
export interface BudgetLeft {
  readonly left: number;
  readonly vectors: number;
  /** 0: in all. */
  readonly windowSeconds: number;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** Where the connection to the provider stands. The base model answers in each of these. */
export type LinkState =
  | { readonly state: "connecting" }
  | { readonly state: "ready"; readonly ready: Ready }
  /** It may pass by itself: tried again after `retryMs`, or at once when the page says so. */
  | { readonly state: "waiting"; readonly failure: Failure; readonly retryMs: number }
  /** The provider wants a key, or another one than it got. */
  | { readonly state: "key"; readonly refused: boolean }
  /** It will not pass by itself. */
  | { readonly state: "refused"; readonly failure: Failure };

export type FromWorker =
  | { readonly type: "progress"; readonly stage: string; readonly fraction: number }
  /** The base model can be asked. */
  | { readonly type: "base"; readonly runsOn: RunsOn }
  | { readonly type: "link"; readonly link: LinkState }
  | { readonly type: "budget"; readonly budget: BudgetLeft | undefined }
  /** This side begins to answer. */
  | { readonly type: "begin"; readonly turn: number; readonly side: Side }
  | { readonly type: "text"; readonly turn: number; readonly side: Side; readonly text: string }
  | {
      readonly type: "done";
      readonly turn: number;
      readonly side: Side;
      readonly ids: readonly number[];
      readonly milliseconds: number;
      readonly reason: string;
      /** Where anything was drafted. */
      readonly drafts?: Readonly<DraftCounts> | undefined;
      /** Of the private side: waits for the provider. */
      readonly roundTrips: number;
    }
  | { readonly type: "seen"; readonly seen: Seen }
  | { readonly type: "times"; readonly groups: readonly GroupTime[] }
  /** Both sides are through with a question, however they ended. */
  | { readonly type: "idle" }
  | { readonly type: "failed"; readonly turn: number; readonly side: Side; readonly failure: Failure }
  /** The base model cannot be used. */
  | { readonly type: "fatal"; readonly failure: Failure };
