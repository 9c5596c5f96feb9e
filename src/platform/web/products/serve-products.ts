/** A thread that holds rows of matrices and multiplies with them. */
import type { HeldMatrix } from "../../../products/held-matrix.ts";
import { ProductMemory } from "../../../products/product-memory.ts";
import { type FromProductThread, matrixOf, SharedWork, type ToProductThread, WORD } from "./messages.ts";

/** @param answer posts to the thread that has started this one */
export function serveProducts(answer: (message: FromProductThread) => void) {
  const memory = new ProductMemory();
  const matrices = new Map<number, { readonly held: HeldMatrix; readonly first: number }>();
  let work: SharedWork | undefined;
  const obey = (message: Exclude<ToProductThread, { kind: "listen" }>): void => {
    if (message.kind === "begin") work = new SharedWork(message.shared);
    else if (message.kind === "place") {
      const { id, shape, hasZeroPoints, first } = message;
      matrices.set(id, { held: memory.place(shape, hasZeroPoints), first });
    } else if (message.kind === "write") {
      matrices.get(message.id)!.held.write(message.part, message.offset, message.bytes);
    } else {
      matrices.get(message.id)?.held.release();
      matrices.delete(message.id);
    }
  };
  return (message: ToProductThread): void => {
    if (message.kind === "listen") {
      listen(work!, message, matrices);
      return;
    }
    try {
      obey(message);
      answer({});
    } catch (error) {
      answer({ failed: String(error) });
    }
  };
}

/** Multiplies until the order is to leave. The thread takes no message meanwhile. */
function listen(
  { words, x, y }: SharedWork,
  { orders, leaves }: Extract<ToProductThread, { kind: "listen" }>,
  matrices: ReadonlyMap<number, { readonly held: HeldMatrix; readonly first: number }>,
): void {
  const onPiece = (): void => void Atomics.add(words, WORD.pieces, 1);
  for (let seen = orders; ; ) {
    Atomics.wait(words, WORD.orders, seen);
    const now = Atomics.load(words, WORD.orders);
    // Read after it: an order that is one to leave is never taken for one to multiply.
    if (Atomics.load(words, WORD.leaves) !== leaves) return;
    if (now === seen) continue;
    seen = now;
    // Nobody waits for a thread that has no rows of it: the next order may be given by now, so it looks at nothing else.
    const share = matrices.get(matrixOf(now));
    if (!share) continue;
    try {
      share.held.multiply(x, words[WORD.tokens], y, words[WORD.rows], share.first, onPiece);
    } catch {
      // Whoever waits sleeps and takes no message: it is told here.
      Atomics.store(words, WORD.failed, 1);
    }
    Atomics.add(words, WORD.done, 1);
    Atomics.notify(words, WORD.done);
  }
}
