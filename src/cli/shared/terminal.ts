/**
 * The rules of the terminal.
 *
 * - stdout carries what was asked for and nothing else, so that it can be piped; stderr carries progress bars,
 *   warnings and errors. A progress bar appears only on a terminal and only for work of over a second.
 * - `error:`, `hint:` and `warning:` lines are lower case, one sentence, without a full stop. The error says what is
 *   wrong, the hint what to do about it.
 * - Prompts and answers are printed only where the user asked for them; keys, activations and weights never.
 * - Text fits 80 columns. Colour only on a terminal, and not with NO_COLOR or TERM=dumb.
 * - What comes from a file or a peer loses its control characters before it reaches a terminal.
 * - Exit codes are those of src/base/errors.ts; 130 after Ctrl-C; 70 for a fault of ours.
 */

export const WIDTH = 80;

export function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

let jsonPrinted = false;

export function printJson(value: unknown): void {
  jsonPrinted = true;
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** Whether a command has printed its result, or what there is of it. */
export function hasPrintedJson(): boolean {
  return jsonPrinted;
}

export function warn(message: string): void {
  process.stderr.write(`${paint("warning:", "yellow", process.stderr)} ${oneLine(message)}\n`);
}

/** A piece of an answer: as it is into a pipe, without escape sequences onto a terminal. */
export function printAnswer(text: string): void {
  process.stdout.write(process.stdout.isTTY ? text.replace(/[^\P{Cc}\n\t]/gu, "") : text);
}

/** One line without control characters. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

export function paint(
  text: string,
  style: keyof typeof STYLES,
  stream: NodeJS.WriteStream = process.stdout,
): string {
  const { NO_COLOR, TERM } = process.env;
  if (!stream.isTTY || (NO_COLOR !== undefined && NO_COLOR !== "") || TERM === "dumb") return text;
  return `\u001b[${STYLES[style]}m${text}\u001b[0m`;
}

/** Breaks text into lines of at most `width` characters at spaces; longer words are cut. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (let word of text.split(/\s+/)) {
    while (word.length > width) {
      if (line !== "") lines.push(line);
      line = "";
      lines.push(word.slice(0, width));
      word = word.slice(width);
    }
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  if (line !== "" || lines.length === 0) lines.push(line);
  return lines;
}

/** `label  text`, the text wrapped and indented behind the label. */
export function printField(label: string, text: string, column = 16): void {
  for (const [i, line] of wrap(text, WIDTH - column).entries()) {
    print((i === 0 ? label.padEnd(column) : " ".repeat(column)) + line);
  }
}

/** Cells side by side, each wrapped to its column; a blank of two between columns. */
export function printColumns(cells: readonly string[], widths: readonly number[]): void {
  const columns = cells.map((cell, i) => wrap(cell, widths[i]));
  for (let row = 0; row < Math.max(...columns.map((lines) => lines.length)); row++) {
    print(
      columns
        .map((lines, i) => (lines[row] ?? "").padEnd(widths[i]))
        .join("  ")
        .trimEnd(),
    );
  }
}

/** "2.3 MB": powers of 1000, two digits or more. */
export function showBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 || value >= 99.5 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** "1.23 ms", "0.61 s". */
export function showMs(ms: number): string {
  return ms < 500 ? `${ms.toFixed(ms < 10 ? 2 : 1)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
