/** `tacet chat`: a conversation on a terminal, or one message a line from a pipe. */
import { createInterface } from "node:readline";
import { type AnswerOptions, checkStopTokenIds } from "../model/answer-stream.ts";
import { ChatSession } from "../model/chat-session.ts";
import { InteractiveChat } from "./chat/interactive-chat.ts";
import { showAnswer } from "./chat/show-answer.ts";
import { isEmbeddedBase } from "./embedded.ts";
import { type SamplingFlags, samplingOf } from "./sampling-options.ts";
import { checkSource, openModel, type SourceOptions } from "./source.ts";
import { print, warn } from "./terminal.ts";
import { warnOfBudget } from "./warn-of-budget.ts";

export interface ChatOptions extends SourceOptions, SamplingFlags {
  readonly system?: string;
  readonly dropOldest?: boolean;
  /** False with --no-history. */
  readonly history?: boolean;
}

export async function runChat(options: ChatOptions, signal: AbortSignal): Promise<void> {
  checkSource(options);
  const source = await openModel(options, signal);
  try {
    const session = await ChatSession.open(source.model, source.checkpoint, {
      ...(options.system === undefined ? {} : { system: options.system }),
      remember: options.history !== false && !isEmbeddedBase(options.base),
      overflow: options.dropOldest ? "drop-oldest" : "error",
      onDropped: (messages) => warn(`the model no longer sees the oldest ${messages} messages`),
    });
    const { maxNewTokens, stop, stopId } = options;
    const answering: AnswerOptions = {
      sampling: samplingOf(options),
      ...(maxNewTokens === undefined ? {} : { maxNewTokens }),
      ...(stop === undefined ? {} : { stop }),
      ...(stopId === undefined ? {} : { stopTokenIds: stopId }),
    };
    checkStopTokenIds(stopId ?? [], source.model.config.vocabSize);
    if (process.stdin.isTTY && (process.stdout.isTTY || process.stderr.isTTY)) {
      await new InteractiveChat(source, session, answering, signal).run();
    } else {
      for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity, signal })) {
        if (line.trim() === "") continue;
        const { end } = await showAnswer(source, session.send(line, { ...answering, signal }));
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
