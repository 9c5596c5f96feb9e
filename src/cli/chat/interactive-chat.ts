/** A conversation on a terminal. Answers go to stdout, all else to the terminal beside it. */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { utf8 } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { Answer, AnswerOptions } from "../../generation/answer-stream.ts";
import type { ChatSession } from "../../generation/chat-session.ts";
import { writeFiles } from "../../platform/node.ts";
import { reportFailure } from "../shared/report-error.ts";
import type { OpenedModel } from "../shared/source.ts";
import { paint, WIDTH, wrap } from "../shared/terminal.ts";
import { type AskedWord, askedWord, DICTIONARY_GREETING } from "./dictionary.ts";
import { LineTerminal } from "./line-terminal.ts";
import { showAnswer, statusOf } from "./show-answer.ts";
import { COMMANDS, type CommandName, parseLine } from "./slash-commands.ts";
import type { SystemCheck } from "./system-message.ts";

const PROMPT = "> ";
/** Readable by its owner: a conversation is private. */
const SAVED_MODE = 0o600;

export interface ChatModel {
  readonly source: OpenedModel;
  readonly session: ChatSession;
  /** Whether the model is a dictionary: it is asked words. */
  readonly dictionary: boolean;
  readonly checkSystem: SystemCheck;
}

export class InteractiveChat {
  readonly #source: OpenedModel;
  readonly #session: ChatSession;
  readonly #dictionary: boolean;
  readonly #checkSystem: SystemCheck;
  readonly #options: AnswerOptions;
  readonly #signal: AbortSignal;
  readonly #screen = process.stdout.isTTY ? process.stdout : process.stderr;
  readonly #terminal = new LineTerminal(process.stdin, this.#screen);
  /** Stops the answer that is being given. */
  #answer: AbortController | undefined;
  /** Whether the last key was Ctrl-C. */
  #interrupted = false;

  constructor(model: ChatModel, options: AnswerOptions, signal: AbortSignal) {
    this.#source = model.source;
    this.#session = model.session;
    this.#dictionary = model.dictionary;
    this.#checkSystem = model.checkSystem;
    this.#options = options;
    this.#signal = signal;
  }

  /** @throws TacetError aborted after Ctrl-C twice */
  async run(): Promise<void> {
    const stop = () => {
      this.#answer?.abort();
      this.#terminal.close();
    };
    this.#signal.addEventListener("abort", stop, { once: true });
    this.#terminal.onInterrupt = (line) => this.#interrupt(line);
    try {
      this.#note(`${this.#greeting()} /help lists the commands.`);
      if (this.#dictionary) this.#note(DICTIONARY_GREETING);
      for (;;) {
        const line = await this.#terminal.message(PROMPT);
        if (line === undefined) break;
        this.#interrupted = false;
        if (line.trim() !== "" && (await this.#obey(line)) === "quit") return;
        if (this.#signal.aborted) break;
      }
      if (this.#signal.aborted) throw this.#signal.reason;
      this.#screen.write("\n");
    } finally {
      this.#signal.removeEventListener("abort", stop);
      this.#terminal.close();
    }
  }

  #greeting(): string {
    const { remote, kind } = this.#source;
    if (remote !== undefined) return `The adapter ${remote.bundle.manifest.adapter} is asked privately.`;
    return kind === "base" ? "The base model answers alone." : "The adapter is applied here, in plaintext.";
  }

  async #obey(line: string): Promise<"quit" | undefined> {
    try {
      const parsed = parseLine(line);
      if (parsed.kind === "message") {
        const { text, note }: AskedWord = this.#dictionary
          ? askedWord(parsed.text)
          : { text: parsed.text, note: "" };
        if (note !== "") this.#note(note);
        await this.#show((options) => this.#session.send(text, options));
      } else return await this.#run(parsed.name, parsed.argument);
    } catch (error) {
      if (!(error instanceof TacetError) || this.#signal.aborted) throw error;
      reportFailure(error, "tacet chat");
    }
    return undefined;
  }

  async #run(name: CommandName, argument: string): Promise<"quit" | undefined> {
    switch (name) {
      case "help":
        for (const [usage, help] of Object.values(COMMANDS)) this.#line(`${usage.padEnd(16)}${help}`);
        return undefined;
      case "system":
        if (argument !== "") this.#checkSystem(argument);
        this.#session.setSystem(argument === "" ? undefined : argument);
        this.#note(argument === "" ? "There is no system message now." : "The system message is set.");
        return undefined;
      case "reset":
        this.#session.reset();
        this.#note("The conversation begins anew.");
        return undefined;
      case "retry":
        await this.#show((options) => this.#session.retry(options));
        return undefined;
      case "save":
        await this.#save(argument);
        return undefined;
      case "quit":
        return "quit";
    }
  }

  async #show(ask: (options: AnswerOptions) => Answer): Promise<void> {
    const controller = new AbortController();
    this.#answer = controller;
    try {
      const shown = await showAnswer(this.#source, ask({ ...this.#options, signal: controller.signal }));
      process.stdout.write("\n");
      this.#note(statusOf(shown, this.#source));
    } catch (error) {
      process.stdout.write("\n");
      throw error;
    } finally {
      this.#answer = undefined;
    }
  }

  async #save(path: string): Promise<void> {
    if (await stat(path).catch(() => undefined)) {
      throw new TacetError("bad_argument", `${path} exists`, { hint: "choose another name" });
    }
    const folder = dirname(path);
    if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
      throw new TacetError("bad_argument", `there is no folder ${folder}`, {
        hint: "make it first, or choose a name in a folder that is there",
      });
    }
    const { system, messages } = this.#session;
    const all = [...(system === undefined ? [] : [{ role: "system", content: system }]), ...messages];
    const bytes = utf8(`${JSON.stringify({ messages: all }, undefined, 2)}\n`);
    await writeFiles([{ path, bytes, mode: SAVED_MODE }]);
    this.#note(`${messages.length} messages are in ${path}.`);
  }

  #interrupt(line: string): void {
    const answering = this.#answer !== undefined;
    if (this.#answer !== undefined && !this.#answer.signal.aborted) {
      this.#answer.abort();
    } else if (!answering && line !== "") {
      this.#terminal.clearLine();
      this.#interrupted = false;
      return;
    } else if (answering || this.#interrupted) {
      // As from outside: what is under way gets a moment to end.
      process.kill(process.pid, "SIGINT");
    } else {
      this.#screen.write("\n");
      this.#note("Ctrl-C once more quits.");
      this.#terminal.redraw();
    }
    this.#interrupted = true;
  }

  #note(text: string): void {
    for (const line of wrap(text, WIDTH)) this.#line(line);
  }

  #line(text: string): void {
    this.#screen.write(`${paint(text, "dim", this.#screen)}\n`);
  }
}
