/** What the client's thread and an encryption thread say to each other. Nothing of it leaves the process. */
import type { ForeignQuery } from "../../pll/client-layer.ts";
import type { QueryLayers } from "../../pll/query-maker.ts";

/** First of all. */
export interface Setup {
  readonly type: "setup";
  readonly layers: QueryLayers;
  /** Threads that make a prompt together, the client's among them. */
  readonly threads: number;
}

/** A query to be made: its x, whose memory moves with it, and comes back. */
export interface EncryptionJob {
  readonly type: "job";
  readonly id: number;
  readonly group: number;
  readonly vectors: number;
  /** (vectors, n) row-major */
  readonly x: Float32Array;
  /** Memory for what is secret of the query, where some is left of another one. */
  readonly memory: ArrayBuffer | undefined;
}

/** Nothing is asked for now, so that masks may be made beforehand; or something is again. */
export interface Idle {
  readonly type: "idle";
  readonly isIdle: boolean;
}

export type ToThread = Setup | EncryptionJob | Idle;

/** It can take jobs. */
export interface Ready {
  readonly type: "ready";
}

export interface Done {
  readonly type: "done";
  readonly id: number;
  /** undefined: it could not be made here. What failed is not said, it may hold anything. */
  readonly query: ForeignQuery | undefined;
  /** Of x, wiped. */
  readonly memory: ArrayBuffer;
  /** Milliseconds that it took. */
  readonly ms: number;
}

/** It has as many masks as it keeps. */
export interface Full {
  readonly type: "full";
}

export type FromThread = Ready | Done | Full;
