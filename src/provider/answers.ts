/**
 * Schedules replies: who is computed for next. A short query is answered in the turn in which it came. A long one is cut into parts of
 * bounded work. The parties that have any (API keys; connections without one) take turns, one part each, and within a
 * party its connections do: whoever asks a lot waits for itself, over however many connections.
 * Parts are computed in this thread, between which it does other things, or by a pool of others.
 *
 * A reply vector is a function of its query vector alone (pll/provider-layer.ts), so parts may be computed anywhere
 * and in any order.
 */
import type { ServedAdapter } from "./served-adapter.ts";

/** Multiply-adds of a part, some ten milliseconds: bounds how long a long query keeps others waiting. */
const PART_PRODUCTS = 2 ** 26;
/** Scratch memory of a part, in vectors. */
const PART_VECTORS = 64;

export interface AnswerPart {
  readonly adapter: ServedAdapter;
  readonly group: number;
  readonly vectors: number;
  /** (vectors, queryBytes) */
  readonly query: Uint8Array;
}

export interface Computed {
  /** (vectors, replyBytes) */
  readonly words: Uint8Array;
  /** Milliseconds of computing. */
  readonly ms: number;
}

/** Computes parts outside of this thread. */
export interface AnswerPool {
  /** Parts that it computes at a time. */
  readonly width: number;
  /** A query of fewer multiply-adds is not worth the way there. */
  readonly leastProducts: number;
  /** Rejects if whoever computed it has died. */
  compute(part: AnswerPart): Promise<Computed>;
}

export interface AnswerTask extends AnswerPart {
  /** The connection. */
  readonly owner: object;
  /** Owners of one party share its turns. */
  readonly party: object | string;
}

/** Owners in the order of their turns, each with its tasks that have vectors left to hand out. */
type Turns = Map<object, OpenTask[]>;

interface OpenTask extends AnswerTask {
  readonly partVectors: number;
  readonly reply: Uint8Array;
  /** First vector that no part has. */
  next: number;
  /** Vectors that are not answered. */
  missing: number;
  ms: number;
  resolve(computed: Computed): void;
  reject(error: unknown): void;
}

export class Answers {
  readonly #pool: AnswerPool;
  /** Parties in the order of their turns. */
  readonly #waiting = new Map<object | string, Turns>();
  #running = 0;

  constructor(pool: AnswerPool = inThisThread) {
    this.#pool = pool;
  }

  /**
   * A short query's answer is there at once, so that answers leave in the order in which queries came.
   *
   * @throws TacetError bad_query
   */
  answer(task: AnswerTask): Computed | Promise<Computed> {
    const { adapter, group, vectors, query } = task;
    const layer = adapter.layers[group];
    layer.checkQuery(query, vectors);
    if (vectors <= Math.min(PART_VECTORS, layer.vectorsWithin(this.#pool.leastProducts))) {
      return computeHere(task);
    }
    const partVectors = Math.min(PART_VECTORS, layer.vectorsWithin(PART_PRODUCTS));
    return new Promise<Computed>((resolve, reject) => {
      const reply = new Uint8Array(vectors * layer.replyBytes);
      this.#wait({ ...task, partVectors, reply, next: 0, missing: vectors, ms: 0, resolve, reject });
      this.#fill();
    });
  }

  /** Forgets what an owner has asked: what it waits for never comes. */
  drop(owner: object): void {
    for (const party of [...this.#waiting.keys()]) this.#remove(party, owner, () => true);
  }

  #wait(task: OpenTask): void {
    let turns = this.#waiting.get(task.party);
    if (turns === undefined) {
      turns = new Map();
      this.#waiting.set(task.party, turns);
    }
    const others = turns.get(task.owner);
    if (others === undefined) turns.set(task.owner, [task]);
    else others.push(task);
  }

  #remove(party: object | string, owner: object, which: (task: OpenTask) => boolean): void {
    const turns = this.#waiting.get(party);
    const tasks = turns?.get(owner)?.filter((task) => !which(task));
    if (turns === undefined || tasks === undefined) return;
    if (tasks.length > 0) turns.set(owner, tasks);
    else turns.delete(owner);
    if (turns.size === 0) this.#waiting.delete(party);
  }

  #fill(): void {
    while (this.#running < this.#pool.width) {
      const party = firstOf(this.#waiting);
      if (party === undefined) return;
      const [name, turns] = party;
      const [owner, tasks] = firstOf(turns) as [object, OpenTask[]];
      const [task] = tasks;
      const first = task.next;
      const vectors = Math.min(task.partVectors, task.vectors - first);
      task.next += vectors;
      if (task.next === task.vectors) tasks.shift();
      // Behind all others.
      turns.delete(owner);
      if (tasks.length > 0) turns.set(owner, tasks);
      this.#waiting.delete(name);
      if (turns.size > 0) this.#waiting.set(name, turns);
      this.#compute(task, first, vectors);
    }
  }

  #compute(task: OpenTask, first: number, vectors: number): void {
    const { queryBytes, replyBytes } = task.adapter.layers[task.group];
    const query = task.query.subarray(first * queryBytes, (first + vectors) * queryBytes);
    this.#running++;
    this.#pool
      .compute({ adapter: task.adapter, group: task.group, vectors, query })
      .then(({ words, ms }) => {
        task.reply.set(words, first * replyBytes);
        task.ms += ms;
        task.missing -= vectors;
        if (task.missing === 0) task.resolve({ words: task.reply, ms: task.ms });
      })
      .catch((error: unknown) => this.#abandon(task, error))
      .finally(() => {
        this.#running--;
        this.#fill();
      });
  }

  #abandon(task: OpenTask, error: unknown): void {
    this.#remove(task.party, task.owner, (each) => each === task);
    task.reject(error);
  }
}

function firstOf<K, V>(map: ReadonlyMap<K, V>): [K, V] | undefined {
  const next = map.entries().next();
  return next.done ? undefined : next.value;
}

function computeHere({ adapter, group, vectors, query }: AnswerPart): Computed {
  const start = performance.now();
  const words = adapter.layers[group].answerQuery(query, vectors);
  return { words, ms: performance.now() - start };
}

/** One part at a time, each in a separate turn of the event loop. */
const inThisThread: AnswerPool = {
  width: 1,
  leastProducts: PART_PRODUCTS,
  compute: (part) =>
    new Promise((resolve, reject) => {
      setTimeout(() => {
        try {
          resolve(computeHere(part));
        } catch (error) {
          reject(error);
        }
      }, 0);
    }),
};
