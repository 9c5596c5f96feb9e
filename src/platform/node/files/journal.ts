/**
 * An append-only file of records, one write call each: a record that is written is in the kernel's page cache, so it
 * outlives the process, and on the disk after the next flush.
 *
 *     file   = "tacet-journal/1\n" record*
 *     record = LE32(length) LE32(crc32(LE32(length) ‖ payload)) payload
 *
 * A record that a crash has cut off can only be the last one: it is dropped when the file is opened. Damage with whole
 * records behind it is not a crash's, and is refused: to drop what follows would give budgets back.
 */
import {
  closeSync,
  existsSync,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { TacetError } from "../../../base/errors.ts";
import type { Journal } from "../../../base/platform.ts";
import { errnoOf } from "./errno.ts";

const MAGIC = Buffer.from("tacet-journal/1\n", "latin1");
const HEADER_BYTES = 8;
export const MAX_RECORD_BYTES = 1 << 16;

export interface OpenedJournal {
  readonly journal: Journal;
  /** What the file holds, oldest first. */
  readonly records: readonly Uint8Array[];
  /** Bytes of an unfinished record that were dropped. */
  readonly droppedBytes: number;
}

/**
 * Opens a journal for writing, and makes it where there is none. The caller sees to it that nobody else writes
 * (lock-file.ts).
 *
 * @param onLost called when a flush has failed: the system may have dropped what was appended, and the next flush may
 *   succeed all the same
 * @throws TacetError io_failed; bad_state if the file is damaged
 */
export function openJournal(path: string, onLost: () => void = () => {}): OpenedJournal {
  try {
    if (!existsSync(path)) closeSync(writeWhole(path, []).fd);
    const { records, end, size } = parse(path, readFileSync(path));
    const fd = openSync(path, "r+");
    try {
      if (end < size) ftruncateSync(fd, end);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return { journal: new NodeJournal(path, fd, end, onLost), records, droppedBytes: size - end };
  } catch (cause) {
    throw failed(path, cause);
  }
}

/** The records of a journal that another process may be writing; none if there is no such file. */
export function readJournal(path: string): readonly Uint8Array[] {
  try {
    return existsSync(path) ? parse(path, readFileSync(path)).records : [];
  } catch (cause) {
    throw failed(path, cause);
  }
}

class NodeJournal implements Journal {
  readonly #path: string;
  readonly #onLost: () => void;
  readonly #frame = Buffer.alloc(HEADER_BYTES + MAX_RECORD_BYTES);
  #fd: number;
  #size: number;
  #flushedSize: number;
  #flushing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  /** After a flush that failed nobody knows what the disk holds: nothing more is promised. */
  #broken: unknown;
  #closed = false;

  constructor(path: string, fd: number, size: number, onLost: () => void) {
    this.#path = path;
    this.#onLost = onLost;
    this.#fd = fd;
    this.#size = size;
    this.#flushedSize = size;
  }

  get size(): number {
    return this.#size;
  }

  append(record: Uint8Array): void {
    if (this.#broken) throw failed(this.#path, this.#broken);
    const length = frameInto(this.#frame, record);
    try {
      // At its place and not at the end: what a full disk took of a record is overwritten by the next one.
      for (let done = 0; done < length; ) {
        done += writeSync(this.#fd, this.#frame, done, length - done, this.#size + done);
      }
    } catch (cause) {
      throw failed(this.#path, cause);
    }
    this.#size += length;
  }

  flushed(): Promise<void> {
    if (this.#broken) return Promise.reject(failed(this.#path, this.#broken));
    if (this.#flushing === undefined) {
      return this.#size === this.#flushedSize ? Promise.resolve() : this.#flush();
    }
    // The flush under way may have begun before the last append.
    this.#next ??= this.#flushing
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.flushed();
      });
    return this.#next;
  }

  #flush(): Promise<void> {
    const size = this.#size;
    this.#flushing = new Promise<void>((resolve, reject) => {
      fdatasync(this.#fd, (error) => {
        this.#flushing = undefined;
        if (error) {
          this.#broken = error;
          reject(failed(this.#path, error));
          this.#onLost();
        } else {
          this.#flushedSize = Math.max(this.#flushedSize, size);
          resolve();
        }
      });
    });
    return this.#flushing;
  }

  rewrite(records: Iterable<Uint8Array>): void {
    if (this.#closed) throw failed(this.#path, this.#broken);
    try {
      // Still open from writing: to open it again could fail, and what is appended then would go to the former file.
      const { fd, size } = writeWhole(this.#path, records);
      const old = this.#fd;
      this.#fd = fd;
      this.#size = size;
      this.#flushedSize = size;
      // A flush of the old file may be under way: it ends before the number is free again.
      if (this.#flushing) void this.#flushing.catch(() => {}).then(() => closeSync(old));
      else closeSync(old);
    } catch (cause) {
      throw failed(this.#path, cause);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // The number of the file may soon be another file's, or a socket's: nothing is written to it from here on.
    this.#broken ??= Object.assign(new Error("closed"), { code: "closed" });
    try {
      fsyncSync(this.#fd);
    } catch (cause) {
      this.#onLost();
      throw cause;
    } finally {
      closeSync(this.#fd);
    }
  }
}

/** Writes a journal beside its name, flushed, and renames it; returns its size and the file, which is open. */
function writeWhole(path: string, records: Iterable<Uint8Array>): { fd: number; size: number } {
  const temporary = `${path}.new`;
  const fd = openSync(temporary, "w", 0o600);
  let size = 0;
  try {
    const put = (bytes: Buffer) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done);
      size += bytes.length;
    };
    put(MAGIC);
    const block = Buffer.alloc(1 << 20);
    let filled = 0;
    for (const record of records) {
      if (filled + HEADER_BYTES + record.length > block.length) {
        put(block.subarray(0, filled));
        filled = 0;
      }
      filled += frameInto(block.subarray(filled), record);
    }
    put(block.subarray(0, filled));
    fsyncSync(fd);
    renameSync(temporary, path);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  flushFolder(dirname(path));
  return { fd, size };
}

/** A rename is on the disk when its folder is; systems that can't flush a folder say so by an error. */
function flushFolder(dir: string): void {
  try {
    const fd = openSync(dir, "r");
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // Windows
  }
}

/** Writes a record with its header at the start of a buffer; returns their length. */
function frameInto(frame: Buffer, record: Uint8Array): number {
  if (record.length > MAX_RECORD_BYTES) throw new RangeError(`a record of ${record.length} bytes`);
  frame.writeUInt32LE(record.length, 0);
  frame.set(record, HEADER_BYTES);
  frame.writeUInt32LE(checksum(frame, 0, record.length), 4);
  return HEADER_BYTES + record.length;
}

function checksum(file: Buffer, at: number, length: number): number {
  const start = crc32(file.subarray(at, at + 4));
  return crc32(file.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length), start);
}

/** The payload of the record at an offset, if a whole one is there. */
function recordAt(file: Buffer, at: number): Uint8Array | undefined {
  if (at + HEADER_BYTES > file.length) return undefined;
  const length = file.readUInt32LE(at);
  if (length === 0 || length > MAX_RECORD_BYTES || at + HEADER_BYTES + length > file.length) return undefined;
  if (file.readUInt32LE(at + 4) !== checksum(file, at, length)) return undefined;
  return new Uint8Array(file.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length));
}

function parse(path: string, file: Buffer): { records: Uint8Array[]; end: number; size: number } {
  if (!file.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new TacetError("bad_state", `${path} is not a journal of this version`);
  }
  const records: Uint8Array[] = [];
  let end = MAGIC.length;
  for (;;) {
    const record = recordAt(file, end);
    if (record === undefined) break;
    records.push(record);
    end += HEADER_BYTES + record.length;
  }
  for (let at = end + 1; at < file.length; at++) {
    if (recordAt(file, at) === undefined) continue;
    throw new TacetError("bad_state", `${path} is damaged at byte ${end}, and whole records follow`, {
      hint: "restore it from a copy; to move it away gives every budget back",
    });
  }
  return { records, end, size: file.length };
}

function failed(path: string, cause: unknown): Error {
  if (cause instanceof TacetError || cause instanceof RangeError) return cause;
  const code = errnoOf(cause);
  return new TacetError("io_failed", `${path} cannot be read or written (${code})`, { cause });
}
