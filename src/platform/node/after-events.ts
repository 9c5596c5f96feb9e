/** Resolves in the next turn of the event loop: when what has come by now has been read. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Resolves when what has come has been read and answered.
 *
 * Two turns of the event loop: in the first, answers leave at its end (sockets/turn-writes.ts), after whoever has waited
 * for one turn alone.
 */
export async function nodeAfterEvents(): Promise<void> {
  await nextTurn();
  await nextTurn();
}
