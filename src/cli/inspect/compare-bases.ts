/** `tacet inspect --base A --against B`: how near one base model comes to another, which may be a quantized copy of it. */
import { readFile } from "node:fs/promises";
import { equalBytes } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import { vectorsFingerprint } from "../../model/base-identity.ts";
import { describeDecoder } from "../../model/architectures/registry.ts";
import { CausalLm } from "../../model/causal-lm.ts";
import { weightMemory } from "../../model/pass-demand.ts";
import type { WeightFormat } from "../../model/weights/weight-source.ts";
import { collectLessOften } from "../../platform/node/heap.ts";
import { errnoOf, nodeFileCache, nodePlatform } from "../../platform/node.ts";
import { hasTokenizer, loadTokenizer } from "../../text/tokenizer.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../weights/fingerprint.ts";
import { LoadProgress } from "../shared/load-progress.ts";
import { Progress } from "../shared/progress.ts";
import { openBase } from "../shared/source.ts";
import { warn } from "../shared/terminal.ts";
import { LogitComparison, type LogitDifferences } from "./logit-differences.ts";
import { SAMPLE_TEXT } from "./sample-text.ts";

export interface CompareOptions {
  readonly base?: string;
  readonly against?: string;
  readonly weights?: WeightFormat;
  readonly againstWeights?: WeightFormat;
  readonly weightsCache?: string;
  readonly text?: string;
  readonly tokens?: number;
  readonly threads?: number;
}

/** Tokens that are compared unless another number is asked for. */
const DEFAULT_TOKENS = 512;
const LEAST_TOKENS = 32;
/** Tokens that follow each other without a new beginning. */
const WINDOW = 512;
/** Tokens of a pass: their logits are in memory. */
const PASS = 64;
/** Most bytes of logits that are kept of the first model while the second one is loaded. */
const MOST_LOGIT_BYTES = 2e9;

interface Side {
  readonly checkpoint: Checkpoint;
  readonly weights: WeightFormat;
}

/**
 * The models are loaded one after the other: neither needs memory beside the other.
 *
 * @throws TacetError bad_argument if the two have other vocabularies, or the text is too short; bad_tokenizer; io_failed;
 *   what loading a model throws
 */
export async function compareBases(
  options: CompareOptions,
  signal: AbortSignal,
): Promise<Record<string, unknown>> {
  const { weights = "original", againstWeights = "original" } = options;
  collectLessOften();
  const first: Side = { checkpoint: await openBase(options, signal), weights };
  const second: Side = {
    checkpoint: await openBase({ base: options.against! }, signal),
    weights: againstWeights,
  };
  const vocabSizes = [first, second].map(({ checkpoint }) => describeDecoder(checkpoint).vocabSize);
  if (vocabSizes[0] !== vocabSizes[1]) {
    throw new TacetError(
      "bad_argument",
      `the two have vocabularies of ${vocabSizes[0]} and ${vocabSizes[1]} tokens: their logits can't be compared`,
    );
  }
  const ids = await idsOf(options, [first.checkpoint, second.checkpoint], vocabSizes[0]);
  const windows = cut(ids, windowOf([first.checkpoint, second.checkpoint]));
  const kept: Float32Array[] = [];
  await eachPass(first, windows, options, signal, (logits) => void kept.push(logits));
  const comparison = new LogitComparison();
  let pass = 0;
  await eachPass(second, windows, options, signal, (logits, next) => {
    const own = kept[pass++];
    const vocab = own.length / next.length;
    for (const [row, id] of next.entries()) {
      if (id === undefined) continue;
      const [from, to] = [row * vocab, (row + 1) * vocab];
      comparison.add(own.subarray(from, to), logits.subarray(from, to), id);
    }
  });
  return {
    kind: "comparison of base models",
    base: sideFacts(first),
    against: sideFacts(second),
    relation: await relationOf(first.checkpoint, second.checkpoint),
    tokens: ids.length,
    ...shown(comparison.differences),
  };
}

function shown({
  positions,
  sameLikeliest,
  perplexity,
  perplexityOfOther,
  ...rest
}: LogitDifferences): object {
  return {
    positions,
    sameLikeliest,
    relativeRms: rest.relativeRms,
    klNats: rest.kl,
    largestKlNats: rest.largestKl,
    perplexity: { base: perplexity, against: perplexityOfOther, ratio: perplexityOfOther / perplexity },
  };
}

function sideFacts({ checkpoint, weights }: Side): object {
  const { label } = checkpoint.tree;
  const { names, tensor } = checkpoint.files ?? checkpoint;
  const infos = names.map((name) => tensor(name));
  return {
    from: label,
    storedAs: checkpoint.storedAs ?? [...new Set(infos.map(({ dtype }) => dtype))].sort().join(", "),
    fileBytes: infos.reduce((sum, { bytes }) => sum + bytes, 0),
    weights,
    memoryBytes: weightMemory(checkpoint, weights),
  };
}

/** What a provider would make of the second, with an adapter for the first. */
async function relationOf(first: Checkpoint, second: Checkpoint): Promise<string> {
  const strong = await Promise.all([first, second].map(fingerprintCheckpoint));
  if (equalBytes(strong[0], strong[1])) return "the same checkpoint";
  const vectors = await Promise.all([first, second].map(vectorsFingerprint));
  if (!equalBytes(vectors[0], vectors[1]))
    return `other norms, biases or sizes${scaled(second)}: adapters for the first are not served to the second`;
  return second.storedAs === undefined
    ? "the same norms, biases and sizes, other weights: adapters for the first are not served to the second"
    : "the same norms, biases and sizes: adapters for the first are served to the second";
}

/** What makes a copy of the same model another base. */
function scaled({ storedAs }: Checkpoint): string {
  return storedAs?.startsWith("AWQ") ? " (AWQ divides norms by scales)" : "";
}

/** Ids of the text, in the first one's tokens. */
async function idsOf(
  { text: file, tokens = DEFAULT_TOKENS }: CompareOptions,
  [first, second]: readonly Checkpoint[],
  vocabSize: number,
): Promise<number[]> {
  const text = file === undefined ? SAMPLE_TEXT : await readText(file);
  const most = Math.min(tokens, Math.floor(MOST_LOGIT_BYTES / (4 * vocabSize)));
  const ids = (await loadTokenizer(first)).encode(text).slice(0, most);
  if (ids.length < LEAST_TOKENS) {
    throw new TacetError(
      "bad_argument",
      `the text has ${ids.length} tokens, at least ${LEAST_TOKENS} are needed`,
      { hint: file === undefined ? "give a text with --text" : "give a longer text with --text" },
    );
  }
  if (await hasTokenizer(second)) {
    const others = (await loadTokenizer(second)).encode(text).slice(0, most);
    if (String(others) !== String(ids))
      warn("the second one's tokenizer cuts the text otherwise; both are given the first one's tokens");
  }
  return ids;
}

async function readText(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((cause: unknown) => {
    throw new TacetError("io_failed", `${path} cannot be read (${errnoOf(cause)})`);
  });
}

function windowOf(checkpoints: readonly Checkpoint[]): number {
  const limits = checkpoints.flatMap((checkpoint) => {
    const { contextLimit, longFrom } = describeDecoder(checkpoint);
    return [contextLimit?.tokens ?? WINDOW, longFrom ?? WINDOW];
  });
  return Math.min(WINDOW, ...limits);
}

function cut(ids: readonly number[], length: number): number[][] {
  const parts: number[][] = [];
  for (let at = 0; at < ids.length; at += length) parts.push(ids.slice(at, at + length));
  return parts;
}

/** Reads all windows; `take` gets the logits of each pass, (tokens, vocab), and the ids that follow, undefined behind a window. */
async function eachPass(
  { checkpoint, weights }: Side,
  windows: readonly (readonly number[])[],
  { weightsCache, threads }: CompareOptions,
  signal: AbortSignal,
  take: (logits: Float32Array, next: readonly (number | undefined)[]) => void,
): Promise<void> {
  const loading = new LoadProgress();
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, {
    weights,
    threads,
    weightCache: nodeFileCache(weightsCache),
    signal,
    onWarning: warn,
    onPrepare: loading.prepare,
    onProgress: loading.load,
  }).finally(() => loading.stop());
  try {
    const total = windows.reduce((sum, ids) => sum + ids.length, 0);
    let done = 0;
    await Progress.during("reading the text", async (onProgress) => {
      for (const ids of windows) {
        const cache = model.newCache();
        for (const part of cut(ids, PASS)) {
          const start = cache.length;
          const logits = await model.forwardAll(part, cache, { signal });
          take(
            logits,
            part.map((_, i) => ids[start + i + 1]),
          );
          onProgress((done += part.length) / total);
        }
        cache.dispose();
      }
    });
  } finally {
    await model.dispose();
  }
}
