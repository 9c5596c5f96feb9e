/**
 * Asking an embedding's group: x is the one-hot of a token, as long as the vocabulary. Only some are in memory at a time;
 * those of a long prompt are asked when the ones before are answered.
 */
import { throwIfAborted } from "../base/abort.ts";

/** Of one-hots in memory. */
const ONE_HOT_BYTES = 32 << 20;

/**
 * y of all ids, (ids.length, rows) row-major. The first ones are asked at once, before this returns.
 *
 * @param vocabSize length of a one-hot
 * @param dropped nothing more is asked once it fires
 * @param ask y of x, (tokens, rows) row-major; x is wiped when it is there
 */
export function askOneHots(
  ids: readonly number[],
  vocabSize: number,
  rows: number,
  dropped: AbortSignal,
  ask: (x: Float32Array, tokens: number) => Promise<Float32Array>,
): Promise<Float32Array> {
  const most = Math.max(1, Math.floor(ONE_HOT_BYTES / (4 * vocabSize)));
  const askFrom = (first: number): Promise<Float32Array> => {
    const part = ids.slice(first, first + most);
    const x = new Float32Array(part.length * vocabSize);
    for (const [t, id] of part.entries()) x[t * vocabSize + id] = 1;
    return ask(x, part.length).finally(() => x.fill(0));
  };
  const begun = askFrom(0);
  begun.catch(() => {}); // whoever awaits what follows is told
  if (ids.length <= most) return begun;
  return askOn(begun);

  async function askOn(before: Promise<Float32Array>): Promise<Float32Array> {
    const all = new Float32Array(ids.length * rows);
    let asked = before;
    for (let first = 0; ; ) {
      const y = await asked;
      all.set(y, first * rows);
      y.fill(0);
      first += most;
      if (first >= ids.length) return all;
      throwIfAborted(dropped);
      asked = askFrom(first);
    }
  }
}
