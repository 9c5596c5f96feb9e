/**
 * Resolves when what has come has been read and answered.
 *
 * Two turns of the event loop: in the first, answers leave at its end (sockets/turn-writes.ts), after whoever has waited
 * for one turn alone.
 */
export const nodeAfterEvents = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(() => setImmediate(resolve));
  });
