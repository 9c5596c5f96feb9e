/**
 * A provider's data folder (--data): keys.json, which `tacet keys` writes and a running provider watches;
 * usage.journal, which one provider writes; usage.mark, how it left that (node-journal-mark.ts); lock, while a provider
 * runs; adapters.json, what `tacet keys` may say of its adapters.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TacetError } from "../base/errors.ts";
import type { Journal } from "../base/platform.ts";
import { errnoOf, lockFile, openJournal, readJournal, watchTextFile, writeFiles } from "../platform/node.ts";
import { decodeKeyFile, encodeKeyFile } from "../provider/api-keys.ts";
import { EmbeddedStore, type EmbeddedStoreOptions } from "../provider/embedded-store.ts";
import type { KeyRecord } from "../provider/store.ts";
import { UsageLedger } from "../provider/usage-ledger.ts";
import { JournalMark } from "./node-journal-mark.ts";

/** What is public of an adapter and says how many vectors it bears. */
export interface AdapterFigures {
  readonly adapter: string;
  /** Chosen vectors to one group after which its function is known, by width. */
  readonly functionVectors: readonly { readonly inFeatures: number; readonly vectors: number }[];
}

const paths = (dir: string) => ({
  keys: join(dir, "keys.json"),
  keysLock: join(dir, "keys.lock"),
  journal: join(dir, "usage.journal"),
  lock: join(dir, "lock"),
  mark: join(dir, "usage.mark"),
  adapters: join(dir, "adapters.json"),
});

export interface OpenedData {
  readonly store: EmbeddedStore;
  /** Bytes of an unfinished record at the journal's end: a crash had cut it off. */
  readonly droppedBytes: number;
  close(): void;
}

export interface DataFolderEvents {
  /** Something failed in the background: the keys can't be read, a flush failed, the lock was taken. */
  readonly onFault: (error: unknown) => void;
  /** Who has left a lock here can't be told; for so long it is watched. */
  readonly onWatch?: (ms: number) => void;
  /** Ends the wait for a lock. */
  readonly signal?: AbortSignal;
}

/**
 * Opens the folder for serving and makes it where there is none.
 *
 * @throws TacetError bad_state, io_failed; then nothing is held
 */
export async function openDataFolder(
  dir: string,
  options: EmbeddedStoreOptions,
  { onFault, onWatch, signal }: DataFolderEvents,
): Promise<OpenedData> {
  const { keys, journal: journalPath, lock: lockPath } = paths(dir);
  makeFolder(dir);
  /** What to give back, last first. */
  const held: (() => void)[] = [];
  const close = () => {
    for (;;) {
      const giveBack = held.pop();
      if (giveBack === undefined) return;
      try {
        giveBack();
      } catch (error) {
        onFault(error);
      }
    }
  };
  let journal: Journal | undefined;
  const lock = await lockFile(lockPath, {
    what: `another provider uses the data folder ${dir}`,
    onWatch,
    signal,
    onLost() {
      onFault(new TacetError("bad_state", `${lockPath} was taken away; no query is answered any more`));
      // Nobody else may charge while somebody else writes: appending fails from here on.
      journal?.close();
    },
  });
  held.push(() => lock.release());
  try {
    const mark = new JournalMark(paths(dir));
    const opened = openJournal(journalPath, () => {
      try {
        mark.withdraw();
      } catch (error) {
        onFault(error);
      }
    });
    journal = opened.journal;
    let isOpen = false;
    held.push(() => {
      // A store that was not opened has not ended the epoch of a journal that was put back.
      if (isOpen && lock.isHeld()) mark.end();
    });
    held.push(() => opened.journal.close());
    const store = new EmbeddedStore(opened.journal, opened.records, {
      ...options,
      run: mark.run,
      isUntouchedSince: (run) => opened.droppedBytes === 0 && mark.isUntouchedSince(run),
    });
    isOpen = true;
    held.push(() => store.close());
    store.setKeys(readKeys(dir));
    store.onFault = onFault;
    const changed = (text: string | undefined) => {
      store.setKeys(text === undefined ? [] : decodeKeyFile(text, keys));
    };
    held.push(watchTextFile(keys, changed, onFault));
    return { store, droppedBytes: opened.droppedBytes, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Refuses a folder that neither 'tacet keys create' nor 'tacet provider' has used. Throws TacetError bad_argument. */
export function checkDataFolder(dir: string): void {
  const { keys, journal } = paths(dir);
  if (existsSync(keys) || existsSync(journal)) return;
  const why = existsSync(dir) ? "it has neither keys nor a journal" : "it does not exist";
  throw new TacetError("bad_argument", `${dir} is no data folder of a provider: ${why}`, {
    hint: "give the folder that 'tacet keys create --data' or 'tacet provider --data' has made",
  });
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

/** Longer than many changes at a time take, each some milliseconds and a flush. */
const KEYS_WAIT_MS = 30_000;

/** Replaces the keys by what `change` makes of them; changes at the same time wait for each other. */
export async function changeKeys(
  dir: string,
  change: (records: readonly KeyRecord[]) => readonly KeyRecord[],
): Promise<void> {
  const { keys, keysLock } = paths(dir);
  makeFolder(dir);
  const lock = await lockFile(keysLock, {
    what: `another command is changing the keys of ${dir}`,
    waitMs: KEYS_WAIT_MS,
  });
  try {
    const text = encodeKeyFile(change(readKeys(dir)));
    decodeKeyFile(text, keys);
    if (!lock.isHeld()) throw new TacetError("io_failed", `${keysLock} was taken away; no key was changed`);
    await writeFiles([{ path: keys, bytes: new TextEncoder().encode(text), mode: 0o600 }]);
  } finally {
    lock.release();
  }
}

/** Keeps the figures of the adapters that are served here, for whoever makes a key later. */
export async function writeFigures(dir: string, figures: readonly AdapterFigures[]): Promise<void> {
  const text = `${JSON.stringify({ adapters: figures }, undefined, 1)}\n`;
  await writeFiles([{ path: paths(dir).adapters, bytes: new TextEncoder().encode(text), mode: 0o600 }]);
}

/** What the provider that served last has written of its adapters; undefined where none has, or it can't be read. */
export function readFigures(dir: string): AdapterFigures[] | undefined {
  try {
    const { adapters } = JSON.parse(readFileSync(paths(dir).adapters, "utf8"));
    return (adapters as AdapterFigures[]).map(({ adapter, functionVectors }) => ({
      adapter: String(adapter),
      functionVectors: functionVectors.map(({ inFeatures, vectors }) => ({
        inFeatures: Number(inFeatures),
        vectors: Number(vectors),
      })),
    }));
  } catch {
    return undefined;
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

function makeFolder(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new TacetError("io_failed", `${dir} cannot be made (${errnoOf(cause)})`, { cause });
  }
}
