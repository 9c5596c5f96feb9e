/** `tacet audit`: real attacks on a real provider, and what they got. */
import { setImmediate } from "node:timers/promises";
import { answerEffects, type EffectRow } from "../../audit/answer-effects.ts";

import type { Attack } from "../../audit/attack.ts";
import { ALL_ATTACKS } from "../../audit/attacks/all-attacks.ts";
import { auditGroup, securityRows } from "../../audit/audit.ts";
import { plotCurves } from "../../audit/plot-svg.ts";
import { recommend } from "../../audit/recommend.ts";
import type { AuditReport, GroupReport } from "../../audit/report.ts";
import { TOY_ROWS, type ToyRow, toyRows } from "../../audit/toy/toy-report.ts";
import { keyWear } from "../../audit/wear.ts";
import type { Device } from "../../base/device.ts";
import { TacetError } from "../../base/errors.ts";
import type { BundleGroup } from "../../bundle/manifest.ts";
import { fitAdapter } from "../../model/adapter/fit-adapter.ts";
import { nodeFileTree, nodePlatform, writeFiles } from "../../platform/node.ts";
import { systemRandom } from "../../ring/random-source.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { EMBEDDED_ADAPTER, EMBEDDED_BASE } from "../shared/embedded.ts";
import { Progress } from "../shared/progress.ts";
import { printJson } from "../shared/terminal.ts";
import { printAudit } from "./print.ts";
import { type AuditSession, type AuditSource, openAuditSession } from "./session.ts";
import { auditText, embeddedAnswers } from "./text.ts";

export interface AuditOptions {
  readonly adapter?: string;
  readonly base?: string;
  readonly seeded?: number;
  readonly group?: readonly string[];
  readonly queries?: number;
  readonly attacks?: string;
  readonly text?: string;
  readonly json?: string;
  readonly plot?: string;
  readonly device?: Device | undefined;
}

/** Tokens on which other errors and b0 are tried: ten passes over them. */
const EFFECT_TOKENS = 1024;

export async function runAudit(options: AuditOptions, signal: AbortSignal): Promise<void> {
  const attacks = chosenAttacks(options.attacks);
  const source = await openSource(options);
  const session = await openAuditSession(source, signal);
  let report: AuditReport;
  try {
    report = await attackGroups(session, source, attacks, options, signal);
  } finally {
    await session.close();
  }
  if (options.json === "-") printJson(report);
  else printAudit(report);
  await writeReports(report, options);
}

async function attackGroups(
  session: AuditSession,
  source: AuditSource,
  attacks: readonly Attack[],
  options: AuditOptions,
  signal: AbortSignal,
): Promise<AuditReport> {
  const { manifest } = session.made;
  const { parameters } = manifest;
  const groups: GroupReport[] = [];
  for (const group of chosenGroups(manifest.groups, options.group)) {
    const context = await session.contextOf(group, options.queries, signal);
    groups.push(
      await Progress.during("attacking", (update) =>
        auditGroup(context, attacks, (done) => update(done / attacks.length)),
      ),
    );
  }
  const toy = options.attacks === undefined ? await runToys(signal) : [];
  const effects = options.attacks === undefined ? await runEffects(source, options, signal) : [];
  return {
    adapter: source.name,
    parameters: parameters.name,
    replyBits: parameters.replyBits,
    keyLength: parameters.keyLength,
    vectorsPerKey: parameters.vectorsPerKey,
    security: securityRows(parameters),
    wear: keyWear(parameters),
    groups,
    toy,
    effects,
    recommendation: recommend(groups, effects, parameters.replyBits),
  };
}

/** The bar and Ctrl-C get their turn between the instances. */
async function runToys(signal: AbortSignal): Promise<ToyRow[]> {
  return await Progress.during("lattice reduction at toy size", async (update) => {
    const rows: ToyRow[] = [];
    update(0);
    await setImmediate();
    for await (const row of toyRows(systemRandom)) {
      rows.push(row);
      update(rows.length / TOY_ROWS);
      await setImmediate();
      signal.throwIfAborted();
    }
    return rows;
  });
}

async function runEffects(
  { model }: AuditSource,
  { text, base }: AuditOptions,
  signal: AbortSignal,
): Promise<EffectRow[]> {
  if (model === undefined) return [];
  const { checkpoint, adapter, runtime } = model;
  const own = text === undefined && base === undefined;
  const input = {
    checkpoint,
    adapter: await fitAdapter(adapter, checkpoint),
    runtime,
    text: own ? await embeddedAnswers() : model.text,
    maxTokens: EFFECT_TOKENS,
    random: systemRandom,
    signal,
  };
  return await Progress.during("other errors and b0", (update) => answerEffects(input, update));
}

async function openSource({ adapter, base, seeded, text, device }: AuditOptions): Promise<AuditSource> {
  if (seeded !== undefined) {
    if ([adapter, base, text, device].some((option) => option !== undefined)) {
      throw new TacetError("bad_argument", "--seeded excludes --adapter, --base, --text and --device");
    }
    return { seeded, name: `seeded n=${seeded}` };
  }
  if (adapter === undefined && base !== undefined) {
    throw new TacetError("bad_argument", "--base needs --adapter", { hint: "give the adapter's folder" });
  }
  const checkpoint = await openCheckpoint(nodeFileTree(base ?? EMBEDDED_BASE));
  const folder = adapter ?? EMBEDDED_ADAPTER;
  return {
    model: {
      checkpoint,
      adapter: await openLoraAdapter(nodeFileTree(folder)),
      text: await auditText(checkpoint, text, base === undefined),
      runtime: nodePlatform({ device }).tensors,
    },
    name: folder.split(/[\\/]/).filter(Boolean).at(-1) ?? "adapter",
  };
}

/** @throws TacetError bad_argument for a name that no attack has */
function chosenAttacks(list: string | undefined): readonly Attack[] {
  if (list === undefined) return ALL_ATTACKS;
  const names = new Set(list.split(",").map((name) => name.trim()));
  const chosen = ALL_ATTACKS.filter(({ name }) => names.delete(name));
  if (names.size === 0) return chosen;
  throw new TacetError("bad_argument", "--attacks names an attack that does not exist", {
    hint: `there are: ${ALL_ATTACKS.map(({ name }) => name).join(", ")}`,
  });
}

/** The first group of each width, unless groups are named. */
function chosenGroups(groups: readonly BundleGroup[], wanted: readonly string[] | undefined): number[] {
  if (wanted === undefined) {
    const widths = new Map(groups.map(({ inFeatures }, i) => [inFeatures, i] as const).reverse());
    return [...widths.values()].sort((a, b) => a - b);
  }
  return wanted.map((text) => {
    const index = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (index < groups.length) return index;
    throw new TacetError("bad_argument", `--group must be an integer below ${groups.length}`);
  });
}

async function writeReports(report: AuditReport, { json, plot }: AuditOptions): Promise<void> {
  const encode = (text: string) => new TextEncoder().encode(text);
  const files = [
    ...(json === undefined || json === "-"
      ? []
      : [{ path: json, bytes: encode(`${JSON.stringify(report, undefined, 1)}\n`), mode: 0o644 }]),
    ...(plot === undefined ? [] : [{ path: plot, bytes: encode(plotCurves(report)), mode: 0o644 }]),
  ];
  if (files.length > 0) await writeFiles(files);
}
