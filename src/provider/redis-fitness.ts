/**
 * Whether a Redis server still keeps what it is given, while it is in use: its policy may be changed at any time, and what
 * it evicts gives budgets back. Each charge asks in its own step whether anything was evicted (redis-scripts.ts); the
 * policy is looked at now and then, so that a server that may evict is left before it has.
 */
import { TacetError } from "../base/errors.ts";
import type { RedisLink } from "../base/platform.ts";
import { LOOK } from "./redis-scripts.ts";
import { refuseEviction } from "./redis-server-check.ts";

/** Between two looks, also at a server that a connection goes on with. */
const LOOK_MS = 1_000;

/** Entries of the database. */
export interface FitnessNames {
  /** What the server had evicted when all was there. */
  readonly whole: string;
  /** Is there where something was evicted since. */
  readonly lost: string;
  readonly format: string;
}

export class RedisFitness {
  readonly #link: RedisLink;
  readonly #names: FitnessNames;
  readonly #onChange: (problem: string | undefined) => void;
  #problem: TacetError | undefined;
  #timer: unknown;
  #closed = false;

  constructor(link: RedisLink, names: FitnessNames, onChange: (problem: string | undefined) => void) {
    this.#link = link;
    this.#names = names;
    this.#onChange = onChange;
  }

  /** Why nothing may be charged, for an operator; undefined: it may. */
  get problem(): TacetError | undefined {
    return this.#problem;
  }

  /** Looks once a second, until close. */
  watch(): void {
    this.#timer = setTimeout(async () => {
      await this.look().catch(() => {}); // not there now: queries say so
      if (!this.#closed) this.watch();
    }, LOOK_MS);
  }

  /** @throws TacetError unavailable */
  async look(): Promise<void> {
    try {
      await refuseEviction(this.#link);
      const { whole, lost, format } = this.#names;
      if ((await this.#link.run(LOOK, [whole, lost, format], [])) === 0) throw this.lost();
      this.#set(undefined);
    } catch (error) {
      if (!(error instanceof TacetError) || error.code !== "bad_state") throw error;
      this.#set(error);
    }
  }

  /** A charge has found that something was evicted. */
  foundLost(): void {
    this.#set(this.lost());
  }

  lost(): TacetError {
    const what = "the Redis server has evicted entries of this database: what was asked may be forgotten";
    return new TacetError("bad_state", what, {
      hint: `restore a backup; or, if what is forgotten may be asked again, set 'maxmemory-policy noeviction' and remove ${this.#names.lost} (DEL)`,
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #set(problem: TacetError | undefined): void {
    const before = this.#problem?.message;
    this.#problem = problem;
    if (problem?.message === before) return;
    this.#onChange(problem && `${problem.message}; ${problem.hint}`);
  }
}

/** For whoever asks: nothing about the server. */
export function notFit(): TacetError {
  return new TacetError("unavailable", "the provider's store may have forgotten what was asked", {
    hint: "nothing was answered; the provider's operator is told",
  });
}
