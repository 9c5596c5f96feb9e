/** `tacet chat`: a conversation on a terminal, or one message a line from a pipe. */
import { createInterface } from "node:readline";
import { type AnswerOptions, checkStopTokenIds } from "../../generation/answer-stream.ts";
import { ChatSession } from "../../generation/chat-session.ts";
import { isEmbeddedBase } from "../shared/embedded.ts";
import { type DraftFlags, draftsOf } from "../shared/draft-options.ts";
import { type SamplingFlags, samplingOf } from "../shared/sampling-options.ts";
import { checkSource, openModel, type SourceOptions } from "../shared/source.ts";
import type { TemplateFlags } from "../shared/template-options.ts";
import { print, warn } from "../shared/terminal.ts";
import { warnOfBudget } from "../shared/warn-of-budget.ts";
import { askedWord } from "./dictionary.ts";
import { InteractiveChat } from "./interactive-chat.ts";
import { showAnswer } from "./show-answer.ts";
import { loadSystemCheck } from "./system-message.ts";

export interface ChatOptions extends SourceOptions, SamplingFlags, DraftFlags, TemplateFlags {
  readonly system?: string;
  readonly dropOldest?: boolean;
  /** False with --no-history. */
  readonly history?: boolean;
}

export async function runChat(options: ChatOptions, signal: AbortSignal): Promise<void> {
  checkSource(options);
  const source = await openModel(options, signal);
  const dictionary = isEmbeddedBase(options.base);
  try {
    const checkSystem = await loadSystemCheck(source.checkpoint);
    if (options.system !== undefined) checkSystem(options.system);
    const session = await ChatSession.open(source.model, source.checkpoint, {
      system: options.system,
      templateVariables: options.templateArg,
      remember: options.history !== false && !dictionary,
      overflow: options.dropOldest ? "drop-oldest" : "error",
      onDropped: (messages) => warn(`the model no longer sees the oldest ${messages} messages`),
    });
    const { maxNewTokens, stop, stopId } = options;
    const answering: AnswerOptions = {
      sampling: samplingOf(options),
      ...draftsOf(options),
      maxNewTokens,
      stop,
      stopTokenIds: stopId,
    };
    checkStopTokenIds(stopId ?? [], source.model.config.vocabSize);
    if (process.stdin.isTTY && (process.stdout.isTTY || process.stderr.isTTY)) {
      await new InteractiveChat({ source, session, dictionary, checkSystem }, answering, signal).run();
    } else {
      for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity, signal })) {
        if (line.trim() === "") continue;
        const { text, note } = dictionary ? askedWord(line) : { text: line, note: "" };
        if (note !== "") process.stderr.write(`${note}\n`);
        const { end } = await showAnswer(source, session.send(text, { ...answering, signal }));
        if (end.reason === "aborted") break;
        print();
      }
      if (signal.aborted) throw signal.reason;
      warnOfBudget(source);
    }
    session.dispose();
  } finally {
    await source.close();
  }
}
