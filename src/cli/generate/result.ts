/** What `tacet generate --json` prints; `ids` and `promptIds` are what --resume goes on from. */
import { toHex } from "../../base/bytes.ts";
import type { DraftCounts } from "../../generation/drafts/drafting.ts";
import { between, type Reading, rounded, timeSplit } from "../shared/counters.ts";
import type { TextSide } from "../shared/prompt.ts";
import { describeFailure } from "../shared/report-error.ts";
import type { OpenedModel } from "../shared/source.ts";

/** What is known of an answer, also when it broke off. */
export interface Progressed {
  readonly promptIds: readonly number[];
  readonly ids: number[];
  finishReason: "eos" | "stop" | "length" | "aborted" | "error";
  /** Before the first pass, after it, and after the last. */
  readonly readings: Reading[];
  /** Where the model has a tokenizer. */
  text: string;
  readonly drafts: DraftCounts;
}

export function resultOf(
  { kind, remote, model }: OpenedModel,
  { tokenizer }: TextSide,
  { promptIds: prompt, ids, finishReason, readings, text, drafts }: Progressed,
  resumedTokens: number,
  loadMs: number,
  failure: unknown,
): Record<string, unknown> {
  const made = ids.length - resumedTokens;
  const [start, first, end] = readings.length === 3 ? readings : [readings[0], readings[1], readings[1]];
  const all = start === undefined ? undefined : between(start, end);
  const decode = readings.length === 3 ? between(first, end, made - 1) : undefined;
  return {
    ids,
    ...(tokenizer === undefined ? {} : { text }),
    promptIds: prompt,
    finishReason,
    source: kind,
    timings: {
      loadMs: rounded(loadMs),
      ...(first === undefined ? {} : { prefillMs: rounded(between(start, first).totalMs) }),
      ...(decode === undefined || made < 2
        ? {}
        : { decodeMsPerToken: rounded(decode.totalMs), perToken: timeSplit(decode) }),
    },
    bytesUp: all?.bytesUp ?? 0,
    bytesDown: all?.bytesDown ?? 0,
    roundTrips: all?.roundTrips ?? 0,
    vectors: all?.vectors ?? 0,
    ...(decode !== undefined && made > 1 && { roundTripsPerToken: rounded(decode.exchanges) }),
    drafts,
    contextLength: model.contextLength,
    ...(remote === undefined
      ? {}
      : {
          adapter: remote.bundle.manifest.adapter,
          bundleDigest: toHex(remote.bundle.digest),
          budget: remote.provider.budget,
          // Threads beside the client's that encrypt prompts, and why there are none.
          encryption: remote.adapter.encryption,
          // Handshake, and the bundle where it was not in the cache.
          connect: { bytesUp: start?.bytesUp ?? 0, bytesDown: start?.bytesDown ?? 0 },
          // Since the connection was asked for: the first one is fetched while the model is loaded.
          keys: { number: remote.provider.traffic.keys, bytes: remote.provider.traffic.keyBytes },
        }),
    ...(failure === undefined ? {} : { error: describeFailure(failure) }),
  };
}
