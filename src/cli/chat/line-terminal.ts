/** Lines from a terminal, with editing and history; what is typed during an answer waits without being shown. */
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";

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

export class LineTerminal {
  /** Ctrl-C, with what stands on the line. */
  onInterrupt: (line: string) => void = () => {};
  readonly #screen: Screen;
  readonly #readline: Interface;
  /** Lines that nobody has asked for yet. */
  readonly #typed: string[] = [];
  #waiting: ((line: string | undefined) => void) | undefined;
  #closed = false;

  constructor(input: NodeJS.ReadStream, output: NodeJS.WriteStream) {
    this.#screen = new Screen(output);
    this.#readline = createInterface({ input, output: this.#screen, terminal: true, historySize: 1000 });
    this.#readline.on("line", (line) => {
      if (this.#waiting === undefined) this.#typed.push(line);
      else this.#resolve(line);
    });
    this.#readline.on("close", () => {
      this.#closed = true;
      this.#resolve(undefined);
    });
    this.#readline.on("SIGINT", () => this.onInterrupt(this.#readline.line));
    this.#screen.muted = true;
  }

  /** The next line; undefined at the end of the input, or after `close`. */
  line(prompt: string): Promise<string | undefined> {
    const typed = this.#typed.shift();
    if (typed !== undefined || this.#closed) return Promise.resolve(typed);
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#screen.muted = false;
      this.#readline.setPrompt(prompt);
      // Keeps what has been typed of a line already.
      this.#readline.prompt(true);
    });
  }

  /** Empties the line that is being typed. */
  clearLine(): void {
    this.#readline.write(null, { ctrl: true, name: "e" });
    this.#readline.write(null, { ctrl: true, name: "u" });
  }

  /** Shows the prompt again, below what was printed. */
  redraw(): void {
    if (this.#waiting !== undefined) this.#readline.prompt(true);
  }

  close(): void {
    this.#readline.close();
  }

  #resolve(line: string | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#screen.muted = true;
    waiting?.(line);
  }
}
