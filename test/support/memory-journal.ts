/** A journal in memory. */
import type { Journal } from "../../src/base/platform.ts";

export interface MemoryJournal extends Journal {
  readonly records: Uint8Array[];
  /** Throws instead of appending while it is set. */
  failure: Error | undefined;
  /** What was not flushed is gone. */
  losePower(): void;
}

export function memoryJournal(): MemoryJournal {
  let records: Uint8Array[] = [];
  let flushed = 0;
  const journal: MemoryJournal = {
    failure: undefined,
    get records() {
      return records;
    },
    get size() {
      return records.reduce((sum, { length }) => sum + 8 + length, 16);
    },
    append(record) {
      if (journal.failure) throw journal.failure;
      records.push(record.slice());
    },
    flushed: async () => {
      flushed = records.length;
    },
    losePower() {
      records = records.slice(0, flushed);
    },
    rewrite(all) {
      records = [...all];
      flushed = records.length;
    },
    close: () => {},
  };
  return journal;
}
