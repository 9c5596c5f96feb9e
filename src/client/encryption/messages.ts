/** What the client's thread and an encryption thread say to each other. Nothing of it leaves the process. */
import type { ForeignQuery } from "../../pll/client-layer.ts";
import type { QueryLayers } from "../../pll/query-maker.ts";

/** First of all. */
export interface Setup {
  readonly type: "setup";
  readonly layers: QueryLayers;
}

/** A query to be made: its x, whose memory moves with it, and comes back. */
export interface Job {
  readonly type: "job";
  readonly id: number;
  readonly group: number;
  /** (vectors, n) row-major */
  readonly x: Float32Array;
  /** Memory for what is secret of the query, where some is left of another one. */
  readonly memory: ArrayBuffer | undefined;
}

export type ToThread = Setup | Job;

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

export type FromThread = Ready | Done;
