/**
 * Messages from a terminal, with editing and history. What is typed during an answer waits, and is shown when its turn
 * comes. A paste is one message, however many lines it has: it is sent with the next Enter.
 */
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";
import { onExit } from "../shared/interrupt.ts";

/** What readline draws on: the terminal, or nothing while an answer is written there. */
class Screen extends Writable {
  muted = false;
  readonly isTTY = true;
  readonly #terminal: NodeJS.WriteStream;

  constructor(terminal: NodeJS.WriteStream) {
    super();
    this.#terminal = terminal;
    terminal.on("resize", () => this.emit("resize"));
  }

  get columns(): number {
    return this.#terminal.columns;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.muted) this.#terminal.write(chunk);
    done();
  }
}

/** Asks the terminal to say where a paste begins and ends (bracketed paste, as xterm introduced it), and no longer. */
const MARK_PASTES = "\u001b[?2004h";
const LEAVE_PASTES = "\u001b[?2004l";

export class LineTerminal {
  /** Ctrl-C, with what stands on the line. */
  onInterrupt: (line: string) => void = () => {};
  readonly #screen: Screen;
  readonly #output: NodeJS.WriteStream;
  /** Gives the terminal back as it was. */
  readonly #leave: () => void;
  readonly #readline: Interface;
  /** Messages that nobody has asked for yet. */
  readonly #typed: string[] = [];
  /** Lines of a paste that is not sent yet. */
  #pasted: string[] = [];
  #pasting = false;
  #waiting: ((line: string | undefined) => void) | undefined;
  #closed = false;

  constructor(input: NodeJS.ReadStream, output: NodeJS.WriteStream) {
    this.#screen = new Screen(output);
    this.#output = output;
    this.#readline = createInterface({ input, output: this.#screen, terminal: true, historySize: 1000 });
    input.on("keypress", (_text: unknown, key: { readonly name?: string } | undefined) => {
      if (key?.name === "paste-start") this.#pasting = true;
      else if (key?.name === "paste-end") this.#pasting = false;
    });
    this.#leave = markPastes(output);
    this.#readline.on("line", (line) => {
      if (this.#pasting) {
        this.#pasted.push(line);
        return;
      }
      const message = [...this.#pasted, line].join("\n").replace(/\n+$/, "");
      this.#pasted = [];
      if (this.#waiting === undefined) this.#typed.push(message);
      else this.#resolve(message);
    });
    this.#readline.on("close", () => {
      this.#closed = true;
      this.#resolve(undefined);
    });
    this.#readline.on("SIGINT", () => this.onInterrupt([...this.#pasted, this.#readline.line].join("\n")));
    this.#screen.muted = true;
  }

  /** The next message; undefined at the end of the input, or after `close`. */
  message(prompt: string): Promise<string | undefined> {
    const typed = this.#typed.shift();
    // Nobody has seen it yet.
    if (typed !== undefined) this.#output.write(`${prompt}${printable(typed)}\n`);
    if (typed !== undefined || this.#closed) return Promise.resolve(typed);
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#screen.muted = false;
      this.#readline.setPrompt(prompt);
      // Keeps what has been typed of a line already.
      this.#readline.prompt(true);
    });
  }

  /** Forgets what is being typed. */
  clearLine(): void {
    this.#pasted = [];
    this.#readline.write(null, { ctrl: true, name: "e" });
    this.#readline.write(null, { ctrl: true, name: "u" });
  }

  /** Shows the prompt again, below what was printed. */
  redraw(): void {
    if (this.#waiting !== undefined) this.#readline.prompt(true);
  }

  close(): void {
    this.#leave();
    this.#readline.close();
  }

  #resolve(line: string | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#screen.muted = true;
    waiting?.(line);
  }
}

/** @returns what takes it back, which also happens where the process ends without */
function markPastes(output: NodeJS.WriteStream): () => void {
  if (process.env.TERM === "dumb") return () => {};
  output.write(MARK_PASTES);
  let left = false;
  const leave = (): void => {
    if (left) return;
    left = true;
    forget();
    output.write(LEAVE_PASTES);
  };
  const forget = onExit(leave);
  return leave;
}

/** What was typed or pasted, without what would move the cursor or change colours. */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, "");
}
