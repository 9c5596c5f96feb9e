/**
 * Round robin over the parties that have work (API keys; connections without one), one part each, and within a party over
 * its connections: whoever asks a lot waits for itself, over however many connections.
 */

/** Work of one or more parts. */
export interface Job {
  /** The connection. */
  readonly owner: object;
  /** Owners of one party share its turns. */
  readonly party: object | string;
  /** Whether there is a part that was not begun. */
  readonly hasMore: boolean;
  /** Begins the next part; rejects if it fails. */
  begin(): Promise<void>;
  /** A part has failed: there is no result. */
  fail(error: unknown): void;
}

/** Owners in the order of their turns, each with its jobs that have parts left to begin. */
type Owners = Map<object, Job[]>;

export class RoundRobin {
  readonly #width: number;
  /** Parties in the order of their turns. */
  readonly #waiting = new Map<object | string, Owners>();
  #running = 0;

  /** @param width parts that are computed at a time */
  constructor(width: number) {
    this.#width = width;
  }

  add(job: Job): void {
    let owners = this.#waiting.get(job.party);
    if (owners === undefined) {
      owners = new Map();
      this.#waiting.set(job.party, owners);
    }
    const others = owners.get(job.owner);
    if (others === undefined) owners.set(job.owner, [job]);
    else others.push(job);
    this.#fill();
  }

  /** Forgets what an owner has asked: what it waits for never comes. */
  drop(owner: object): void {
    for (const party of [...this.#waiting.keys()]) this.#remove(party, owner, () => true);
  }

  #remove(party: object | string, owner: object, which: (job: Job) => boolean): void {
    const owners = this.#waiting.get(party);
    const jobs = owners?.get(owner)?.filter((job) => !which(job));
    if (owners === undefined || jobs === undefined) return;
    if (jobs.length > 0) owners.set(owner, jobs);
    else owners.delete(owner);
    if (owners.size === 0) this.#waiting.delete(party);
  }

  #fill(): void {
    while (this.#running < this.#width) {
      const party = firstOf(this.#waiting);
      if (party === undefined) return;
      const [name, owners] = party;
      const [owner, jobs] = firstOf(owners) as [object, Job[]];
      const [job] = jobs;
      const part = job.begin();
      if (!job.hasMore) jobs.shift();
      // Behind all others.
      owners.delete(owner);
      if (jobs.length > 0) owners.set(owner, jobs);
      this.#waiting.delete(name);
      if (owners.size > 0) this.#waiting.set(name, owners);
      this.#running++;
      part
        .catch((error: unknown) => {
          this.#remove(job.party, job.owner, (each) => each === job);
          job.fail(error);
        })
        .finally(() => {
          this.#running--;
          this.#fill();
        });
    }
  }
}

function firstOf<K, V>(map: ReadonlyMap<K, V>): [K, V] | undefined {
  const next = map.entries().next();
  return next.done ? undefined : next.value;
}
