/**
 * Products of rounded weights in a page, which ONNX Runtime's build for WebAssembly has no kernel for. Each thread holds some
 * rows of every matrix, in separate memories: so no limit of one WebAssembly memory holds for a model, and weights are
 * there once.
 */
import { TacetError } from "../../../base/errors.ts";
import type { RoundedShape, RoundedWeights } from "../../../base/platform.ts";
import { type HeldMatrix, type MatrixPart, rowBytes } from "../../../products/held-matrix.ts";
import { ProductMemory } from "../../../products/product-memory.ts";
import { startProductThread } from "../threads.ts";
import { type FromProductThread, orderFor, SharedWork, type ToProductThread, WORD } from "./messages.ts";

/** Bytes that are read at a time. */
const PIECE_BYTES = 8 << 20;
/** A smaller matrix is one thread's: to wake another takes as long as the product. */
const LEAST_SHARED = 1 << 17;
/** Looks at whether the others are through, before this thread sleeps: some hundred microseconds. */
const LOOKS = 20_000;
/** The main thread of a page may not sleep. */
const MAY_SLEEP = typeof document === "undefined";
/** A thread that has said nothing for so long while it is waited for has ended: no event tells of that. */
const PATIENCE_MS = 10_000;
/** One that is sent a message may have to fetch its script first. */
const MESSAGE_PATIENCE_MS = 60_000;
/** At most so much of a silence counts: a machine that has slept has stopped all threads. */
const SILENCE_MS = 500;

interface Share {
  readonly first: number;
  readonly rows: number;
}

/** A matrix that a team holds. */
export interface TeamMatrix extends RoundedShape {
  readonly id: number;
  /** This thread's rows, from 0 on. */
  readonly own: HeldMatrix;
  /** Threads that hold rows besides. */
  readonly helpers: readonly Helper[];
}

export class ProductTeam {
  #memory: ProductMemory | undefined;
  #work: SharedWork | undefined;
  #helpers: Helper[] = [];
  /** Whether helpers wait for orders; then they take no messages. */
  #listening = false;
  #matrices = 0;
  #nextId = 1;
  readonly #patienceMs: number;

  /** @param patienceMs after which a thread that says nothing counts as ended */
  constructor(patienceMs = PATIENCE_MS) {
    this.#patienceMs = patienceMs;
  }

  /**
   * @param threads that shall have rows of it; where memory cannot be shared, one has all
   * @throws TacetError out_of_memory; what reading throws
   */
  async hold(weights: RoundedWeights, threads: number): Promise<TeamMatrix> {
    const { rows, columns, bits, block } = weights;
    const hasZeroPoints = weights.zeroPoints !== undefined;
    const [mine, ...others] = sharesOf(weights, globalThis.crossOriginIsolated ? threads : 1);
    const id = this.#nextId++;
    this.#matrices++;
    const helpers = this.#helpersFor(others.length);
    let own: HeldMatrix | undefined;
    try {
      const memory = (this.#memory ??= new ProductMemory());
      const held = (own = memory.place({ rows: mine.rows, columns, bits, block }, hasZeroPoints));
      const bring = [
        readShare(weights, mine, async (part, offset, bytes) => held.write(part, offset, bytes)),
        ...others.map(async (share, i) => {
          const shape = { rows: share.rows, columns, bits, block };
          await this.#call(helpers[i], { kind: "place", id, shape, hasZeroPoints, first: share.first });
          await readShare(weights, share, (part, offset, bytes) =>
            this.#call(helpers[i], { kind: "write", id, part, offset, bytes }, [bytes.buffer as ArrayBuffer]),
          );
        }),
      ];
      const failed = (await Promise.allSettled(bring)).find((each) => each.status === "rejected");
      if (failed) throw failed.reason;
      return { rows, columns, bits, block, id, own: held, helpers };
    } catch (error) {
      await this.#release(id, own, helpers);
      throw error;
    }
  }

  release({ id, own, helpers }: TeamMatrix): Promise<void> {
    return this.#release(id, own, helpers);
  }

  /**
   * y = W·x for each of `tokens` rows of x, in a new array. Nothing of either is left in the memory that threads share.
   * @throws TacetError io_failed if a thread could not do its share, or has ended: then no matrix that it has rows of can be
   *   used any more
   */
  multiply(matrix: TeamMatrix, x: Float32Array, tokens: number): Float32Array {
    const { rows, columns, own, helpers, id } = matrix;
    const y = new Float32Array(tokens * rows);
    if (helpers.length === 0) {
      own.multiply(x, tokens, y, rows, 0);
      return y;
    }
    for (const { reason } of helpers) if (reason !== undefined) throw ended(reason);
    const work = this.#work!;
    const { words } = work;
    const most = work.vectors(matrix);
    this.#listen();
    for (let token = 0; token < tokens; token += most) {
      const count = Math.min(most, tokens - token);
      work.x.set(x.subarray(token * columns, (token + count) * columns));
      words[WORD.tokens] = count;
      words[WORD.rows] = rows;
      words[WORD.done] = 0;
      Atomics.store(words, WORD.orders, orderFor(id, words[WORD.orders]));
      Atomics.notify(words, WORD.orders);
      try {
        own.multiply(work.x, count, work.y, rows, 0);
        if (!awaitDone(words, helpers.length, this.#patienceMs)) {
          // Which one it is nobody knows, and one that is only late would write into others' results.
          for (const helper of this.#helpers) helper.end(SILENT);
          throw ended(SILENT);
        }
        if (Atomics.exchange(words, WORD.failed, 0) !== 0) throw ended("it could not multiply");
        y.set(work.y.subarray(0, count * rows), token * rows);
      } finally {
        work.wipe(count * columns, count * rows);
      }
    }
    return y;
  }

  #listen(): void {
    if (this.#listening) return;
    const { words } = this.#work!;
    for (const { post } of this.#helpers)
      post({ kind: "listen", orders: words[WORD.orders], leaves: words[WORD.leaves] });
    this.#listening = true;
  }

  /** What a helper is told while nothing is multiplied. */
  #call(helper: Helper, message: ToProductThread, transfer?: readonly ArrayBuffer[]): Promise<void> {
    if (this.#listening) {
      const { words } = this.#work!;
      Atomics.add(words, WORD.leaves, 1);
      Atomics.add(words, WORD.orders, 1);
      Atomics.notify(words, WORD.orders);
      this.#listening = false;
    }
    return helper.call(message, transfer);
  }

  #helpersFor(count: number): Helper[] {
    if (count > this.#helpers.length) {
      this.#work ??= SharedWork.make();
      while (this.#helpers.length < count) {
        const helper = new Helper();
        this.#helpers.push(helper);
        // A thread that can't begin refuses all that follows.
        void this.#call(helper, { kind: "begin", shared: this.#work.memory }).catch(() => {});
      }
    }
    return this.#helpers.slice(0, count);
  }

  async #release(id: number, own: HeldMatrix | undefined, helpers: readonly Helper[]): Promise<void> {
    own?.release();
    const released = helpers.map((helper) => this.#call(helper, { kind: "release", id }));
    // One that has failed holds nothing any more.
    await Promise.allSettled(released);
    if (--this.#matrices > 0) return;
    // All memory goes with the last matrix.
    for (const helper of this.#helpers) helper.end("its matrices are released");
    this.#helpers = [];
    this.#listening = false;
    this.#memory = undefined;
    this.#work = undefined;
  }
}

/** false: nothing has been heard of the threads for too long. */
function awaitDone(words: Int32Array, count: number, patienceMs: number): boolean {
  let pieces = -1;
  let silentMs = 0;
  let before = 0;
  for (let looks = 1; ; looks++) {
    const done = Atomics.load(words, WORD.done);
    if (done >= count) return true;
    if (looks < LOOKS || (!MAY_SLEEP && looks % LOOKS !== 0)) continue;
    if (MAY_SLEEP) Atomics.wait(words, WORD.done, done, Math.min(SILENCE_MS, patienceMs));
    const [heard, now] = [Atomics.load(words, WORD.pieces), performance.now()];
    silentMs = heard === pieces ? silentMs + Math.min(now - before, SILENCE_MS) : 0;
    [pieces, before] = [heard, now];
    if (silentMs >= patienceMs) return false;
  }
}

/** As many rows for each thread, the last one's fewer. */
function sharesOf({ rows, columns }: RoundedShape, threads: number): Share[] {
  const count = rows * columns < LEAST_SHARED ? 1 : Math.min(threads, rows);
  const each = Math.ceil(rows / count);
  const shares = Array.from({ length: count }, (_, i) => ({
    first: i * each,
    rows: Math.min(each, rows - i * each),
  }));
  return shares.filter((share, i) => i === 0 || share.rows > 0);
}

/** Reads a share in pieces. */
async function readShare(
  weights: RoundedWeights,
  { first, rows }: Share,
  take: (part: MatrixPart, offset: number, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const sizes = rowBytes(weights);
  for (const part of ["codes", "scales", "zeroPoints"] as const) {
    if (!weights[part]) continue;
    const step = Math.max(1, Math.floor(PIECE_BYTES / sizes[part]));
    for (let row = 0; row < rows; row += step)
      await take(part, row * sizes[part], await weights[part](first + row, Math.min(step, rows - row)));
  }
}

/** A thread that holds rows. */
class Helper {
  readonly #thread = startProductThread();
  readonly #waiting: { resolve(): void; reject(error: unknown): void }[] = [];
  #patience: ReturnType<typeof setTimeout> | undefined;
  #reason: string | undefined;

  /** Why it can't be used any more. */
  get reason(): string | undefined {
    return this.#reason;
  }

  constructor() {
    this.#thread.onMessage = (message) => {
      const { failed } = message as FromProductThread;
      this.#beginPatience();
      const waiting = this.#waiting.shift();
      if (failed === undefined) waiting?.resolve();
      else waiting?.reject(new RangeError(failed));
    };
    this.#thread.onEnd = (reason) => this.end(reason);
  }

  readonly post = (message: ToProductThread, transfer: readonly ArrayBuffer[] = []): void =>
    this.#thread.post(message, transfer);

  /** Resolves when it has done so. */
  call(message: ToProductThread, transfer?: readonly ArrayBuffer[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#reason !== undefined) {
        reject(ended(this.#reason));
        return;
      }
      this.#waiting.push({ resolve, reject });
      if (this.#waiting.length === 1) this.#beginPatience();
      this.post(message, transfer);
    });
  }

  end(reason: string): void {
    clearTimeout(this.#patience);
    this.#reason ??= reason;
    this.#thread.end();
    for (const { reject } of this.#waiting.splice(0)) reject(ended(this.#reason));
  }

  #beginPatience(): void {
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => {
      if (this.#waiting.length > 0) this.end(SILENT);
    }, MESSAGE_PATIENCE_MS);
  }
}

const SILENT = "it has ended, or does not answer any more";

function ended(reason: string): TacetError {
  return new TacetError("io_failed", `a thread for products failed: ${reason}`, {
    hint: "load the model again, or reload the page",
  });
}
