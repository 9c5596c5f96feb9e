/** A journal in memory. */
import type { Journal } from "../../src/base/platform.ts";

export interface MemoryJournal extends Journal {
  readonly records: Uint8Array[];
  /** Throws instead of appending while it is set. */
  failure: Error | undefined;
}

export function memoryJournal(): MemoryJournal {
  let records: Uint8Array[] = [];
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
    flushed: async () => {},
    rewrite(all) {
      records = [...all];
    },
    close: () => {},
  };
  return journal;
}
