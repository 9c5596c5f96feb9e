/** `tacet demo`: the main job on the embedded model, with the provider in its own process. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeFileTree, nodePlatform } from "../../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../weights/checkpoint.ts";
import { securityFacts } from "../shared/bundle-facts.ts";
import { EMBEDDED_ADAPTER, EMBEDDED_BASE, EMBEDDED_EXPECTED } from "../shared/embedded.ts";
import { writeEmbeddedState } from "../shared/embedded-provider.ts";
import { onExit } from "../shared/interrupt.ts";
import { Progress } from "../shared/progress.ts";
import { openTextSide, promptIds, type TextSide } from "../shared/prompt.ts";
import { startProvider } from "../shared/provider-process.ts";
import { type OpenedModel, openLocal, openRemote } from "../shared/source.ts";
import { answerIds, type Question, readExpected, timeModels } from "./answers.ts";
import { Capture } from "./capture.ts";
import { differenceOf } from "./difference.ts";
import {
  type AnsweredQuestion,
  printAnswerRow,
  printCheck,
  printHeader,
  printSecurity,
  printSeen,
  printTimes,
} from "./report.ts";
import { uniformityOf } from "./uniformity.ts";

export interface DemoOptions {
  readonly word?: readonly string[];
}

const WORDS = ["tender", "consideration", "battery"];

/** Resolves to the exit code: 1 if an answer is not what it must be. */
export async function runDemo({ word: words = WORDS }: DemoOptions, signal: AbortSignal): Promise<number> {
  const state = mkdtempSync(join(tmpdir(), "tacet-demo-"));
  const removeState = (): void => rmSync(state, { recursive: true, force: true });
  const forget = onExit(removeState);
  try {
    chmodSync(state, 0o700);
    return await demonstrate(state, words, signal);
  } finally {
    removeState();
    forget();
  }
}

async function demonstrate(state: string, words: readonly string[], signal: AbortSignal): Promise<number> {
  const start = performance.now();
  const checkpoint = await openCheckpoint(nodeFileTree(EMBEDDED_BASE));
  const side = await openTextSide(checkpoint);
  const questions = await ask(checkpoint, side, words);
  const made = await writeEmbeddedState(checkpoint, state, signal);
  const bundleMs = performance.now() - start;

  const provider = await startProvider(state);
  const opened: OpenedModel[] = [];
  try {
    const capture = new Capture();
    const open = async (model: Promise<OpenedModel>): Promise<OpenedModel> => {
      opened.push(await model);
      signal.throwIfAborted();
      return opened[opened.length - 1];
    };
    const base = await open(openLocal(checkpoint, {}, signal));
    const plaintext = await open(openLocal(checkpoint, { adapter: EMBEDDED_ADAPTER }, signal));
    const remoteOptions = { provider: [provider.url], cache: false };
    const remote = await open(openRemote(checkpoint, remoteOptions, signal, capture.wrap(nodePlatform())));

    printHeader(made, bundleMs, provider);
    capture.recording = true;
    const answered: AnsweredQuestion[] = [];
    for (const question of questions) {
      const ids = {
        base: await answerIds(base, side, question, signal),
        private: await answerIds(remote, side, question, signal),
        plaintext: await answerIds(plaintext, side, question, signal),
      };
      const same = ids.private.join() === ids.plaintext.join();
      answered.push({
        question,
        ids,
        ...(same
          ? {}
          : {
              difference: await differenceOf(remote.model, plaintext.model, question.promptIds, ids, signal),
            }),
      });
      printAnswerRow(question.word, textOf(side, ids.base), textOf(side, ids.private));
    }
    capture.recording = false;
    const passed = printCheck(answered);
    printSeen(capture.queries(), uniformityOf);
    printSecurity(securityFacts(made.manifest));

    const [plainTiming, privateTiming] = await Progress.during("timing", (update) =>
      timeModels([plaintext, remote], side, questions, signal, update),
    );
    printTimes(plainTiming, privateTiming, remote);
    return passed ? 0 : 1;
  } finally {
    await Promise.allSettled(opened.map((model) => model.close()));
    await provider.stop();
  }
}

async function ask(checkpoint: Checkpoint, side: TextSide, words: readonly string[]): Promise<Question[]> {
  const expected = await readExpected(EMBEDDED_EXPECTED);
  return await Promise.all(
    words.map(async (word) => ({
      word,
      promptIds: await promptIds(checkpoint, side, word, {}),
      expected: expected.get(word),
    })),
  );
}

function textOf({ tokenizer }: TextSide, ids: readonly number[]): string {
  return tokenizer?.detokenize(ids).trim() ?? ids.join(",");
}
