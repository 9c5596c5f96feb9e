/** The journal: what is appended is read again, cut off anywhere; damage is refused; one writer. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { utf8 } from "../../../base/bytes.ts";
import { openJournal, readJournal } from "./journal.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tacet-journal-"));
  path = join(dir, "j");
});
afterEach(() => rmSync(dir, { recursive: true }));

const RECORDS = [1, 40, 7, 1000].map((length, i) => new Uint8Array(length).fill(i + 1));

function write(records: readonly Uint8Array[] = RECORDS): void {
  const { journal } = openJournal(path);
  for (const record of records) journal.append(record);
  journal.close();
}

describe("openJournal", () => {
  it("gives back what was appended, in order, and goes on behind it", () => {
    write();
    write([utf8("more")]);
    expect(openJournal(path).records).toEqual([...RECORDS, utf8("more")]);
    expect(readJournal(path)).toHaveLength(5);
    expect(readJournal(join(dir, "none"))).toEqual([]);
  });

  it("is for nobody else's eyes", () => {
    write();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("cut anywhere keeps the whole records, drops the rest, and can be appended to", () => {
    write();
    const whole = readFileSync(path);
    const ends: number[] = [16];
    for (const { length } of RECORDS) ends.push(ends.at(-1)! + 8 + length);
    for (let cut = 16; cut <= whole.length; cut += cut < 100 ? 1 : 97) {
      writeFileSync(path, whole.subarray(0, cut));
      const { journal, records, droppedBytes } = openJournal(path);
      const kept = ends.filter((end) => end <= cut).length - 1;
      expect(records).toEqual(RECORDS.slice(0, kept));
      expect(droppedBytes).toBe(cut - ends[kept]);
      journal.append(utf8("next"));
      journal.close();
      expect(readJournal(path)).toEqual([...RECORDS.slice(0, kept), utf8("next")]);
    }
  });

  it("drops garbage at the end", () => {
    write();
    appendFileSync(path, new Uint8Array(500));
    const { records, droppedBytes } = openJournal(path);
    expect(records).toEqual(RECORDS);
    expect(droppedBytes).toBe(500);
  });

  it("refuses damage that has whole records behind it, and files that are no journal", () => {
    write();
    const whole = readFileSync(path);
    for (const at of [16, 20, 24, 30]) {
      const damaged = Buffer.from(whole);
      damaged[at] ^= 1;
      writeFileSync(path, damaged);
      expect(() => openJournal(path)).toThrow(expect.objectContaining({ code: "bad_state" }));
    }
    writeFileSync(path, "something else that is long enough");
    expect(() => openJournal(path)).toThrow(expect.objectContaining({ code: "bad_state" }));
  });

  it("rewrites as a whole, also while a flush is under way", async () => {
    const { journal } = openJournal(path);
    for (const record of RECORDS) journal.append(record);
    const flushed = journal.flushed();
    journal.rewrite([utf8("a"), utf8("b")]);
    journal.append(utf8("c"));
    await Promise.all([flushed, journal.flushed(), journal.flushed()]);
    expect(journal.size).toBe(16 + 3 * 9);
    journal.close();
    expect(readJournal(path)).toEqual([utf8("a"), utf8("b"), utf8("c")]);
  });

  it("appends nothing once it is closed", () => {
    const { journal } = openJournal(path);
    journal.close();
    expect(() => journal.append(utf8("x"))).toThrow(expect.objectContaining({ code: "io_failed" }));
    expect(readJournal(path)).toEqual([]);
  });
});
