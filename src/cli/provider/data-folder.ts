/**
 * A provider's data folder (--data): keys.json, which `tacet keys` writes and a running provider watches;
 * usage.journal, which one provider writes; lock, while it does.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TacetError } from "../../base/errors.ts";
import { lockFolder, openJournal, readJournal, watchTextFile } from "../../platform/node.ts";
import { decodeKeyFile, encodeKeyFile } from "../../provider/api-keys.ts";
import { EmbeddedStore, type EmbeddedStoreOptions } from "../../provider/embedded-store.ts";
import type { Sha256 } from "../../provider/provider.ts";
import type { KeyRecord } from "../../provider/store.ts";
import { UsageLedger } from "../../provider/usage-ledger.ts";
import { errnoOf, writeFiles } from "../shared/write-files.ts";

const paths = (dir: string) => ({
  keys: join(dir, "keys.json"),
  keysLock: join(dir, "keys.lock"),
  journal: join(dir, "usage.journal"),
  lock: join(dir, "lock"),
});

export interface OpenedData {
  readonly store: EmbeddedStore;
  /** Bytes of an unfinished record at the journal's end: a crash had cut it off. */
  readonly droppedBytes: number;
  close(): void;
}

/**
 * Opens the folder for serving and makes it where there is none.
 *
 * @param onFault something failed in the background: the keys can't be read, a flush failed, the lock was taken
 * @throws TacetError bad_state, io_failed
 */
export function openDataFolder(
  dir: string,
  options: EmbeddedStoreOptions,
  onFault: (error: unknown) => void,
): OpenedData {
  const { keys, journal: journalPath, lock: lockPath } = paths(dir);
  makeFolder(dir);
  const lock = lockFolder(lockPath, () => {
    onFault(new TacetError("bad_state", `${lockPath} was taken away; no query is answered any more`));
    // Nobody else may charge while somebody else writes: appending fails from here on.
    opened.journal.close();
  });
  const opened = openJournal(journalPath);
  let store: EmbeddedStore;
  try {
    store = new EmbeddedStore(opened.journal, opened.records, options);
    store.setKeys(readKeys(dir));
  } catch (error) {
    opened.journal.close();
    lock.release();
    throw error;
  }
  store.onFault = onFault;
  const unwatch = watchTextFile(
    keys,
    (text) => store.setKeys(text === undefined ? [] : decodeKeyFile(text, keys)),
    onFault,
  );
  return {
    store,
    droppedBytes: opened.droppedBytes,
    close() {
      unwatch();
      store.close();
      lock.release();
    },
  };
}

/** The keys of a folder; none where none were made. Throws TacetError bad_state, io_failed. */
export function readKeys(dir: string): KeyRecord[] {
  const { keys } = paths(dir);
  let text: string;
  try {
    text = readFileSync(keys, "utf8");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return [];
    throw new TacetError("io_failed", `${keys} cannot be read (${errnoOf(cause)})`, { cause });
  }
  return decodeKeyFile(text, keys);
}

/** Replaces the keys by what `change` makes of them; two changes at a time do not lose one another. */
export async function changeKeys(
  dir: string,
  change: (records: readonly KeyRecord[]) => readonly KeyRecord[],
): Promise<void> {
  const { keys, keysLock } = paths(dir);
  makeFolder(dir);
  const lock = lockFolder(keysLock, () => {});
  try {
    const text = encodeKeyFile(change(readKeys(dir)));
    decodeKeyFile(text, keys);
    await writeFiles([{ path: keys, bytes: new TextEncoder().encode(text), mode: 0o600 }]);
  } finally {
    lock.release();
  }
}

/** What accounts have asked so far, seen from `nowMs`; also while a provider is running. */
export function readUsage(dir: string, nowMs = Date.now()): UsageLedger {
  const records = readJournal(paths(dir).journal);
  const closed = () => {
    throw new TypeError("the journal is only read here");
  };
  return new UsageLedger(
    { size: 0, append: closed, flushed: closed, rewrite: closed, close: closed },
    records,
    { nowMs },
  );
}

export const nodeSha256: Sha256 = (parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

function makeFolder(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new TacetError("io_failed", `${dir} cannot be made (${errnoOf(cause)})`, { cause });
  }
}
