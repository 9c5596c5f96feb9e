/**
 * What is computed, and where. A short query is answered in the turn in which it came. A long one is cut into parts of
 * bounded work, and each group of a key is one: they are computed in turns (round-robin.ts), in this thread, between
 * which it does other things, or by a pool of others.
 *
 * A reply vector is a function of its query vector and the key alone, and a part of a key of its seed alone
 * (pll/provider-layer.ts, weight-encryption.ts), so both may be computed anywhere and in any order.
 */
import type { SigningTools } from "../bundle/key-signature.ts";
import { beginKeyPart, type KeyPart, type KeyPlace } from "./key-part.ts";
import { type GroupKey, type GroupKeyName, LayerSecrets } from "./layer-secrets.ts";
import type { LayerSecret } from "../pll/secret-stream.ts";
import { type Job, RoundRobin } from "./round-robin.ts";
import type { ServedAdapter } from "./served-adapter.ts";
import { type AfterEvents, afterTimer, inSlices } from "./slices.ts";

/** Multiply-adds of a part, some ten milliseconds: bounds how long a long query keeps others waiting. */
const PART_PRODUCTS = 2 ** 26;
/** Scratch memory of a part, in vectors. */
const PART_VECTORS = 64;

export interface ReplyPart {
  readonly adapter: ServedAdapter;
  readonly group: number;
  readonly vectors: number;
  /** (vectors, queryBytes) */
  readonly query: Uint8Array;
  /** Under which it is answered. */
  readonly key: GroupKey;
}

export interface ComputedReply {
  /** (vectors, replyBytes) */
  readonly words: Uint8Array;
  /** Milliseconds of computing. */
  readonly ms: number;
}

/** One group of a key that is to be made. */
export interface KeyPartTask extends KeyPlace {
  readonly adapter: ServedAdapter;
  readonly key: GroupKey;
}

/** Computes parts outside of this thread. */
export interface ReplyPool {
  /** Parts that it computes at a time. */
  readonly width: number;
  /** A query of fewer multiply-adds is not worth the way there. */
  readonly leastProducts: number;
  /** Rejects if whoever computed it has died. */
  compute(part: ReplyPart): Promise<ComputedReply>;
  /** The same. */
  makeKeyPart(task: KeyPartTask): Promise<KeyPart>;
  /** Wipes what it holds of a key that is worn out, once it has computed what it was given before. */
  forget(key: GroupKeyName): void;
}

/** Whose turn something takes. */
export interface Asker {
  /** The connection. */
  readonly owner: object;
  /** Owners of one party share its turns. */
  readonly party: object | string;
}

export type ReplyTask = ReplyPart & Asker;

export interface ReplySchedulerOptions extends SigningTools {
  /** Where parts are computed; by default in this thread. */
  readonly pool?: ReplyPool | undefined;
  /** Between two parts that are computed in this thread. */
  readonly afterEvents?: AfterEvents | undefined;
}

export class ReplyScheduler {
  /** S of the keys that are in use in this thread. */
  readonly secrets = new LayerSecrets();
  readonly #pool: ReplyPool;
  readonly #turns: RoundRobin;

  constructor({ pool, afterEvents = afterTimer, ...tools }: ReplySchedulerOptions = {}) {
    this.#pool = pool ?? this.#inThisThread(tools, afterEvents);
    this.#turns = new RoundRobin(this.#pool.width);
  }

  /**
   * A short query's answer is there at once, so that answers leave in the order in which queries came.
   *
   * @throws TacetError bad_query
   */
  answer(task: ReplyTask): ComputedReply | Promise<ComputedReply> {
    const { adapter, group, vectors, query } = task;
    const layer = adapter.layers[group];
    layer.checkQuery(query, vectors);
    if (vectors <= Math.min(PART_VECTORS, layer.vectorsWithin(this.#pool.leastProducts))) {
      return this.#computeHere(task);
    }
    return new Promise<ComputedReply>((resolve, reject) => {
      this.#turns.add(new LongQuery(task, this.#pool, resolve, reject));
    });
  }

  /** Makes one group of a key. */
  makeKeyPart(task: KeyPartTask & Asker): Promise<KeyPart> {
    const { owner, party } = task;
    return new Promise<KeyPart>((resolve, reject) => {
      let hasMore = true;
      this.#turns.add({
        owner,
        party,
        get hasMore() {
          return hasMore;
        },
        begin: async () => {
          hasMore = false;
          resolve(await this.#pool.makeKeyPart(task));
        },
        fail: reject,
      } satisfies Job);
    });
  }

  /** Wipes S of a key that is worn out, wherever it is held. */
  forget(key: GroupKeyName): void {
    this.secrets.forget(key);
    this.#pool.forget(key);
  }

  /** Forgets what an owner has asked: what it waits for never comes. */
  drop(owner: object): void {
    this.#turns.drop(owner);
  }

  #computeHere({ adapter, group, vectors, query, key }: ReplyPart): ComputedReply {
    const start = performance.now();
    const layer = adapter.layers[group];
    const answer = (secret: LayerSecret) => layer.answerQuery(secret, query, vectors);
    const words = this.secrets.use(layer, key, answer);
    return { words, ms: performance.now() - start };
  }

  /** One part at a time, each in a separate turn of the event loop, and a key in slices. */
  #inThisThread(tools: SigningTools, afterEvents: AfterEvents): ReplyPool {
    return {
      width: 1,
      leastProducts: PART_PRODUCTS,
      compute: async (part) => {
        await afterEvents();
        return this.#computeHere(part);
      },
      makeKeyPart: async (task) => {
        const { adapter, group, key } = task;
        const maker = { ...adapter, bundleDigest: adapter.bundle.digest };
        const options = { ...tools, mark: key.mark?.() };
        const seed = key.seed();
        const making = beginKeyPart(maker, task, seed, options);
        // Its queries come soon: S is drawn once for both, in a first step. Where it has lost its room to others meanwhile,
        // each row draws what it needs, and not all rows again.
        let isDrawn = false;
        const step = () => {
          if (isDrawn) return making.next(this.secrets.find(key));
          isDrawn = true;
          this.secrets.use(adapter.layers[group], key, () => {}, seed);
          return true;
        };
        try {
          await inSlices(step, afterEvents);
          return making.part;
        } finally {
          making.end();
        }
      },
      // All is in this thread.
      forget() {},
    };
  }
}

/** A query in parts. */
class LongQuery implements Job {
  readonly owner: object;
  readonly party: object | string;
  readonly fail: (error: unknown) => void;
  readonly #task: ReplyTask;
  readonly #pool: ReplyPool;
  readonly #resolve: (computed: ComputedReply) => void;
  readonly #partVectors: number;
  readonly #reply: Uint8Array;
  /** First vector that no part has. */
  #next = 0;
  /** Vectors that are not answered. */
  #missing: number;
  #ms = 0;

  constructor(
    task: ReplyTask,
    pool: ReplyPool,
    resolve: (computed: ComputedReply) => void,
    reject: (error: unknown) => void,
  ) {
    this.owner = task.owner;
    this.party = task.party;
    this.fail = reject;
    this.#task = task;
    this.#pool = pool;
    this.#resolve = resolve;
    const layer = task.adapter.layers[task.group];
    this.#partVectors = Math.min(PART_VECTORS, layer.vectorsWithin(PART_PRODUCTS));
    this.#reply = new Uint8Array(task.vectors * layer.replyBytes);
    this.#missing = task.vectors;
  }

  get hasMore(): boolean {
    return this.#next < this.#task.vectors;
  }

  async begin(): Promise<void> {
    const { adapter, group, key } = this.#task;
    const { queryBytes, replyBytes } = adapter.layers[group];
    const first = this.#next;
    const vectors = Math.min(this.#partVectors, this.#task.vectors - first);
    this.#next += vectors;
    const query = this.#task.query.subarray(first * queryBytes, (first + vectors) * queryBytes);
    const { words, ms } = await this.#pool.compute({ adapter, group, vectors, query, key });
    this.#reply.set(words, first * replyBytes);
    this.#ms += ms;
    this.#missing -= vectors;
    if (this.#missing === 0) this.#resolve({ words: this.#reply, ms: this.#ms });
  }
}
