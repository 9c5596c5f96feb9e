/** Facts as lines: `name  value`, records as indented blocks, lists of records as tables. */
import { oneLine, print, WIDTH, wrap } from "../shared/terminal.ts";

type Facts = Readonly<Record<string, unknown>>;

export function printFacts(facts: Facts, indent = 0): void {
  const margin = " ".repeat(indent);
  const column = Math.max(...Object.keys(facts).map((key) => words(key).length)) + 2;
  for (const [key, value] of Object.entries(facts)) {
    const label = margin + words(key).padEnd(column);
    if (isRecordList(value)) {
      print(`${margin}${words(key)} (${value.length})`);
      printTable(value, indent + 2);
    } else if (isFacts(value)) {
      print(margin + words(key));
      printFacts(value, indent + 2);
    } else {
      printValue(label, show(value), indent);
    }
  }
}

/** A digest that does not fit beside its label goes below it, in one piece. */
function printValue(label: string, text: string, indent: number): void {
  const below = !text.includes(" ") && label.length + text.length > WIDTH;
  const margin = below ? indent + 2 : label.length;
  if (below) print(label.trimEnd());
  for (const [i, line] of wrap(text, WIDTH - margin).entries()) {
    print((i === 0 && !below ? label : " ".repeat(margin)) + line);
  }
}

/** Rows of short cells; lists and records within a row go below it. */
function printTable(rows: readonly Facts[], indent: number): void {
  const keys = Object.keys(rows[0]);
  const records = keys.filter((key) => rows.some((row) => isFacts(row[key])));
  const columns = keys.filter((key) => !isRecordList(rows[0][key]) && !records.includes(key));
  const lists = keys.filter((key) => isRecordList(rows[0][key]));
  const cells = rows.map((row) => columns.map((key) => show(row[key])));
  const widths = columns.map((key, c) => Math.max(words(key).length, ...cells.map((row) => row[c].length)));
  const line = (row: readonly string[]) =>
    print(
      " ".repeat(indent) +
        row
          .map((cell, c) => cell.padEnd(widths[c]))
          .join("  ")
          .trimEnd(),
    );
  line(columns.map(words));
  for (const [r, row] of rows.entries()) {
    line(cells[r]);
    for (const key of records) {
      const text = `${words(key)}: ${show(rows[r][key])}`;
      for (const part of wrap(text, WIDTH - indent - 4)) print(" ".repeat(indent + 4) + part);
    }
    for (const key of lists) {
      for (const item of row[key] as Facts[]) {
        const [name, ...rest] = Object.entries(item);
        const text = [show(name[1]), ...rest.map(([field, value]) => `${words(field)} ${show(value)}`)].join(
          ", ",
        );
        for (const part of wrap(text, WIDTH - indent - 4)) print(" ".repeat(indent + 4) + part);
      }
    }
  }
}

function isFacts(value: unknown): value is Facts {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isRecordList(value: unknown): value is readonly Facts[] {
  return Array.isArray(value) && value.length > 0 && value.every(isFacts);
}

/** "maxMessageBytes" -> "max message bytes" */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function show(value: unknown): string {
  if (typeof value === "number") {
    if (Number.isInteger(value)) return value >= 10_000 ? value.toLocaleString("en-US") : String(value);
    return String(Number(value.toPrecision(6)));
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(show).join(", ");
  if (isFacts(value)) return showRecord(value);
  return oneLine(String(value ?? "none"));
}

/** What is set of a record, in one cell: "theta 10,000, scale 2". */
function showRecord(record: Facts): string {
  const set = Object.entries(record).filter(([, value]) => value !== undefined);
  return set.map(([key, value]) => `${words(key)} ${show(value)}`).join(", ");
}
