/** What may be written down of a request: how it went, never what was asked or answered. */

import type { AnswerEnd } from "../generation/answer.ts";

export interface RequestEntry {
  /** "other" for what no route has. */
  readonly method: string;
  /** The route, as "/v1/models/{model}", "other" where there is none: a client can write anything into a path. */
  readonly path: string;
  readonly status: number;
  /** To the end of the answer, also of a streamed one. */
  readonly milliseconds: number;
  /** Name of the API key. */
  readonly key?: string;
  /** One that is served here. */
  readonly model?: string;
  readonly stream?: boolean;
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
  readonly completionTokens?: number;
  readonly drafted?: number;
  readonly accepted?: number;
  /** Code of what it failed with, "broken_off" where the client went away. */
  readonly error?: string;
}

const METHODS = ["GET", "POST", "OPTIONS", "HEAD", "PUT", "PATCH", "DELETE"];

/** A request that is being answered. */
export class OpenRequest {
  readonly #begun = performance.now();
  readonly #log: (entry: RequestEntry) => void;
  #entry: Omit<RequestEntry, "status" | "milliseconds">;
  #isOver = false;

  constructor(method: string, log: (entry: RequestEntry) => void) {
    this.#log = log;
    this.#entry = { method: METHODS.includes(method) ? method : "other", path: "other" };
  }

  add(more: Partial<Omit<RequestEntry, "status" | "milliseconds" | "method" | "error">>): void {
    this.#entry = { ...this.#entry, ...more };
  }

  /** What it failed with first is why. */
  fail(error: string): void {
    this.#entry = { error, ...this.#entry };
  }

  count({ promptTokens, cachedTokens, ids, drafts }: AnswerEnd): void {
    this.add({ promptTokens, cachedTokens, completionTokens: ids.length, ...drafts });
  }

  /** Writes the entry; what comes later is not written. */
  end(status: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const milliseconds = Math.round(performance.now() - this.#begun);
    this.#log({ ...this.#entry, status, milliseconds });
  }
}
