/** `tacet logits`: what follows a prompt, as numbers. */
import { TacetError } from "../../base/errors.ts";
import { checkIds, openTextSide, type PromptOptions, promptIds, readPrompt } from "../shared/prompt.ts";
import {
  checkSource,
  openBase,
  openLocal,
  openModel,
  openRemote,
  type SourceOptions,
} from "../shared/source.ts";
import { oneLine, print, printField, printJson } from "../shared/terminal.ts";
import { compareLogits } from "./compare-logits.ts";

export interface LogitsOptions extends SourceOptions, PromptOptions {
  readonly top?: number;
  readonly compare?: boolean;
  readonly json?: boolean;
}

const TOP = 10;

export async function runLogits(
  words: readonly string[],
  options: LogitsOptions,
  signal: AbortSignal,
): Promise<void> {
  checkSource(options, options.compare ? "allow-both" : "refuse-both");
  if (options.compare && (options.provider === undefined || options.adapter === undefined)) {
    throw new TacetError("bad_argument", "--compare needs both --provider and --adapter");
  }
  const text = await readPrompt(words, options);
  if (options.compare) await compare(text, options, signal);
  else await show(text, options, signal);
}

async function show(text: string, options: LogitsOptions, signal: AbortSignal): Promise<void> {
  const source = await openModel(options, signal);
  try {
    const side = await openTextSide(source.checkpoint);
    const ids = await promptIds(source.checkpoint, side, text, options, source.model.contextLength);
    checkIds(ids, source.model.config.vocabSize);
    const cache = source.model.newCache();
    const logits = await source.model.forward(ids, cache, { signal });
    cache.dispose();
    if (options.json) {
      printJson({ promptIds: ids, source: source.kind, logits: Array.from(logits) });
      return;
    }
    const falling = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
    for (const id of falling.slice(0, options.top ?? TOP)) {
      const piece = side.tokenizer?.detokenize([id], { skipSpecialTokens: false });
      const shown = piece === undefined ? "" : `  ${oneLine(JSON.stringify(piece))}`;
      print(`${String(id).padStart(8)}  ${logits[id].toFixed(4).padStart(10)}${shown}`);
    }
  } finally {
    await source.close();
  }
}

async function compare(text: string, options: LogitsOptions, signal: AbortSignal): Promise<void> {
  const checkpoint = await openBase(options, signal);
  const ids = await promptIds(checkpoint, await openTextSide(checkpoint), text, options);
  const plaintext = await openLocal(checkpoint, options, signal);
  try {
    checkIds(ids, plaintext.model.config.vocabSize);
    const remote = await openRemote(checkpoint, options, signal);
    try {
      const error = await compareLogits(remote.model, plaintext.model, ids, signal);
      if (options.json) {
        printJson({ promptIds: ids, ...error });
        return;
      }
      printField("positions", `${error.positions}`);
      printField("logit error", `max ${error.max.toFixed(5)}, rms ${error.rms.toFixed(5)}`);
      printField("smallest gap", `${error.smallestGap.toFixed(5)} from the largest logit to the second`);
      printField("other top token", `${error.differentTop} positions`);
    } finally {
      await remote.close();
    }
  } finally {
    await plaintext.close();
  }
}
