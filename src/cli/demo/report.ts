/** What the demo prints. */
import { toHex } from "../../base/bytes.ts";
import { grouped } from "../../base/show-number.ts";
import type { CreatedBundle } from "../../bundle/create-bundle.ts";
import {
  SECURITY_PROMISE,
  type SecurityFacts,
  showBits,
  showFunctionVectors,
} from "../shared/bundle-facts.ts";
import { waitingMs } from "../shared/counters.ts";
import type { ProviderProcess } from "../shared/provider-process.ts";
import type { OpenedModel } from "../shared/source.ts";
import {
  oneLine,
  paint,
  print,
  printColumns,
  printField,
  showBytes,
  showMs,
  WIDTH,
  wrap,
} from "../shared/terminal.ts";
import type { Question, Timing } from "./answers.ts";
import { type Difference, isNearTie } from "./difference.ts";
import type { Uniformity } from "./uniformity.ts";

export interface AnsweredQuestion {
  readonly question: Question;
  readonly ids: { readonly base: number[]; readonly plaintext: number[]; readonly private: number[] };
  /** Where private and plaintext answers differ. */
  readonly difference?: Difference;
}

const COLUMNS = [14, 30, 32] as const;

function heading(text: string): void {
  print();
  print(paint(text, "bold"));
}

export function printHeader(
  { manifest, bundle }: CreatedBundle,
  ms: number,
  { pid, url }: ProviderProcess,
): void {
  const modules = manifest.groups.reduce((sum, group) => sum + group.modules.length, 0);
  const intro =
    "A dictionary model runs in this process. Its law adapter is private: it stays with a provider, in process " +
    `${pid}, which has no base model and gets ciphertext only.`;
  for (const line of wrap(intro, WIDTH)) print(line);
  print();
  const groups = manifest.groups.length;
  printField(
    "bundle",
    `${modules} adapted layers in ${groups} groups, ${showBytes(bundle.length)}, made in ${showMs(ms)}`,
  );
  printField("provider", url);
  print();
  printColumns(["word", "base model alone", "with the private adapter"], COLUMNS);
  print("-".repeat(WIDTH));
}

export function printAnswerRow(word: string, base: string, answer: string): void {
  printColumns([word, base, answer].map(oneLine), COLUMNS);
}

/** Whether every answer is what it must be; a near tie that fell the other way is said, with the errors. */
export function printCheck(answered: readonly AnsweredQuestion[]): boolean {
  const same = answered.filter(({ difference }) => difference === undefined);
  const ties = answered.filter(({ difference }) => difference !== undefined && isNearTie(difference));
  const known = answered.filter(({ question }) => question.expected !== undefined);
  const right = known.filter(
    ({ question, ids }) =>
      ids.base.join() === question.expected?.base.join() &&
      ids.private.join() === question.expected?.adapter.join(),
  );
  const knownTies = ties.filter(({ question }) => question.expected !== undefined);
  const passed =
    same.length + ties.length === answered.length && right.length + knownTies.length >= known.length;
  const mark = passed ? paint("checked", "green") : paint("mismatch", "red");
  print();
  print(
    `${mark}  ${same.length} of ${answered.length} private answers equal the plaintext adapter's, token for token`,
  );
  if (known.length > 0)
    print(`${" ".repeat(passed ? 9 : 10)}${right.length} of ${known.length} answers equal expected.json`);
  if (ties.length > 0)
    print(`${" ".repeat(9)}${ties.length} differ at a near tie: private results have a small error`);
  for (const { question, difference } of answered) {
    if (difference === undefined) continue;
    const { gap, error } = difference;
    printField(
      `  ${oneLine(question.word)}`,
      `its two likeliest tokens are ${gap.toFixed(4)} apart where it differs; logits up to there are off by ` +
        `${error.max.toFixed(4)} at most, ${error.rms.toFixed(4)} rms`,
    );
  }
  return passed;
}

export function printSeen(
  queries: readonly { readonly vectors: number; readonly ciphertext: Uint8Array }[],
  measure: (parts: Iterable<Uint8Array>) => Uniformity,
): void {
  const all = measure(queries.map(({ ciphertext }) => ciphertext));
  const [first] = queries;
  heading("What the provider saw");
  const bytes = toHex(first.ciphertext.subarray(0, 40)).replace(/(.{4})(?!$)/g, "$1 ");
  printField("first query", `${bytes} ... (${grouped(first.ciphertext.length)} bytes)`);
  printField("all queries", `${grouped(queries.length)} of them, ${showBytes(all.bytes)} of ciphertext`);
  printField("  entropy", `${all.entropyBits.toFixed(6)} of 8 bits a byte`);
  const verdict = Math.abs(all.deviations) < 5 ? "as uniform bytes" : "NOT as uniform bytes";
  printField("  chi-square", `${all.chiSquare.toFixed(1)}, uniform bytes give 255 +- 23: ${verdict}`);
  printField("also", "how many tokens, which layer, when; never a word or an id");
}

export function printSecurity(security: SecurityFacts): void {
  heading("Security of this bundle, estimated");
  printField("your words", showBits(security.query));
  printField("adapter: key", showBits(security.key));
  printField("  worn out", showBits(security.wornKey));
  printField("adapter: used", showFunctionVectors(security));
  for (const line of wrap(SECURITY_PROMISE, WIDTH)) print(paint(line, "dim"));
}

export function printTimes(plain: Timing, hidden: Timing, { remote }: OpenedModel): void {
  const { perToken } = hidden;
  const waiting = waitingMs(perToken);
  const provider = Math.min(perToken.providerMs, waiting);
  const ratio = perToken.totalMs / plain.perToken.totalMs;
  heading(`A token, on the average of ${hidden.tokens} (prompts included)`);
  const row = (label: string, ms: number, note: string) =>
    print(`${label.padEnd(16)}${ms.toFixed(2).padStart(6)} ms  ${note}`);
  row(
    "private",
    perToken.totalMs,
    `${ratio.toFixed(2)} x plaintext adapter (${plain.perToken.totalMs.toFixed(2)} ms, same run)`,
  );
  row("  base model", perToken.baseMs, "here");
  row("  encryption", perToken.encryptionMs, "here: encrypt, decrypt, public basis, late masks");
  row("  provider", provider, "there");
  row("  wire", waiting - provider, "sockets and waking up, as far as it is waited for");
  row("beforehand", remote?.adapter.idleMsPerToken ?? 0, "here, in idle time: masks for coming tokens");
  const groups = remote?.adapter.groups.length ?? 0;
  printField(
    "bytes",
    `${grouped(perToken.bytesUp)} up, ${grouped(perToken.bytesDown)} down, ` +
      `${perToken.roundTrips.toFixed(1)} queries (one a group: ${groups})`,
  );
  const { keys = 0, keyBytes = 0 } = remote?.provider.traffic ?? {};
  const each = remote?.provider.welcome.vectorsPerKey ?? 0;
  printField(
    "keys",
    `${showBytes(keyBytes / Math.max(1, keys))} down for each ${each} tokens; ${keys} so far`,
  );
}
