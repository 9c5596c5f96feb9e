/** `tacet trace`: a suspected copy against the marks of all accounts. */
import { writeFile } from "node:fs/promises";
import { TacetError } from "../../base/errors.ts";
import { grouped } from "../../base/show-number.ts";
import { storedInOut } from "../../model/config-facts.ts";
import { nodeFileTree } from "../../platform/node.ts";
import { loadServedAdapter } from "../../provider/provider.ts";
import { plotScores } from "../../trace/plot-scores.ts";
import { type Suspect, suspectAdapter, suspectCheckpoint } from "../../trace/suspect.ts";
import { type TraceReport, traceCopy, VERDICT } from "../../trace/trace.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { openKeyBook, type StoreOptions } from "../keys/key-book.ts";
import { modelFolder } from "../shared/model-folder.ts";
import { Progress } from "../shared/progress.ts";
import { print, printField, printJson, wrap } from "../shared/terminal.ts";

export interface TraceOptions extends StoreOptions {
  readonly state: string;
  readonly copy: string;
  readonly base?: string;
  readonly json?: boolean;
  readonly plot?: string;
}

export async function runTrace(options: TraceOptions, signal: AbortSignal): Promise<void> {
  const adapter = await loadServedAdapter(nodeFileTree(options.state), { marks: true });
  const accounts = await accountsOf(options);
  const copy = await openSuspect(options, signal);
  const report = await Progress.during("comparing", (update) =>
    traceCopy(adapter, accounts, copy, (fraction) => {
      signal.throwIfAborted();
      update(fraction);
    }),
  );
  if (options.plot !== undefined) await writeFile(options.plot, plotScores(report));
  if (options.json) {
    printJson({ ...report, verdict: sentenceOf(report) });
    return;
  }
  printField("adapter", report.adapter);
  printField("modules", `${report.modules.found} of ${report.modules.all} are in the copy`);
  printField(
    "entries",
    `${grouped(Math.round(report.entries))} that the copy knows well enough to tell accounts apart`,
  );
  printField("accounts", grouped(report.accounts.length));
  print();
  print(`${"score".padStart(8)}  ${"by chance".padEnd(12)}  account`);
  const named = report.accounts.filter(({ isNamed }) => isNamed);
  for (const { account, score, log10Chance, isNamed } of report.accounts.slice(
    0,
    Math.max(MOST_LINES, named.length),
  )) {
    const chance = log10Chance > -2 ? "-" : `10^${log10Chance.toFixed(0)}`;
    print(
      `${score.toFixed(1).padStart(8)}  ${chance.padEnd(12)}  ${account}${isNamed ? "  <-- made with it" : ""}`,
    );
  }
  if (report.accounts.length > MOST_LINES)
    print(`${"".padStart(8)}  (${grouped(report.accounts.length)} in all)`);
  print();
  for (const line of wrap(sentenceOf(report), 80)) print(line);
}

/** Lines of accounts that are shown, unless more are named. */
const MOST_LINES = 10;

/** What the scores say, and what they do not. */
function sentenceOf({ accounts }: TraceReport): string {
  const named = accounts.filter(({ isNamed }) => isNamed).map(({ account }) => account);
  if (named.length === 0) {
    return (
      "No account is named: the copy was made otherwise, from too few answers, by accounts that are not here, or from a " +
      "provider without --marks. That clears nobody."
    );
  }
  const whose = named.length === 1 ? `the account ${named[0]}` : `the accounts ${named.join(", ")}, together`;
  return (
    `The copy carries the marks of ${whose}: what was answered to ${named.length === 1 ? "it" : "them"} is in the copy. ` +
    `An account that has nothing to do with it is named less than once in 10^${-VERDICT} traces. It does not say who used ` +
    "the account, and to others it proves nothing: a provider can make such a copy itself."
  );
}

async function accountsOf(options: TraceOptions): Promise<string[]> {
  const book = await openKeyBook(options);
  try {
    const accounts = [...new Set((await book.keys()).map(({ account }) => account))];
    if (accounts.length > 0) return accounts;
  } finally {
    book.close();
  }
  throw new TacetError("bad_argument", "there are no accounts to compare with", {
    hint: "give the provider's own --data or --redis",
  });
}

/** A whole model has a config.json, an adapter has adapter_config.json. */
async function openSuspect({ copy, base }: TraceOptions, signal: AbortSignal): Promise<Suspect> {
  const tree = nodeFileTree(await modelFolder(copy, "adapter", signal));
  if ((await tree.size("adapter_config.json")) !== undefined)
    return suspectAdapter(await openLoraAdapter(tree));
  if ((await tree.size("config.json")) === undefined) {
    throw new TacetError("bad_argument", `${copy} is neither an adapter nor a model`, {
      hint: "give a folder with adapter_config.json, or with config.json and the weights",
    });
  }
  if (base === undefined) {
    throw new TacetError(
      "bad_argument",
      `${copy} is a whole model: the base model is needed to see what was changed`,
      {
        hint: "give it with --base",
      },
    );
  }
  const checkpoint = await openCheckpoint(nodeFileTree(await modelFolder(base, "base", signal)));
  return suspectCheckpoint(await openCheckpoint(tree), checkpoint, storedInOut(checkpoint));
}
