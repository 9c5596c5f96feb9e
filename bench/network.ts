// What a prompt and a token cost over a line between client and provider: a relay in a separate process stands between
// them (test/support/link). Every mode reads the same ids. --quick: the embedded model, two lines, few tokens. --modes and
// --adapted: some of them alone, in less time; then nothing is computed for other lines.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { writeStateFolder } from "../src/library/node-state-folder.ts";
import { fitAdapter } from "../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../src/model/adapter/local-lora.ts";
import { nodeFileTree } from "../src/platform/node.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import { startLink } from "../test/support/link/link.ts";
import type { BenchOptions, Section } from "./harness.ts";
import { seededFolders } from "./seeded-model.ts";
import { LINES, type Line } from "./network/lines.ts";
import { agreementOn, type DraftedTokens, measureDrafts, reportDrafts } from "./network/measure-drafts.ts";
import {
  type Asked,
  INVOCATION,
  MODES,
  measureOver,
  basePromptMs,
  type NetworkModel,
} from "./network/measure-over.ts";
import { type Measured, reportActivated, reportComputed, reportNetwork } from "./network/report-network.ts";
import { startProvider } from "./provider-process.ts";

/** As --modes has it: an answer without the prompt of the others, longer, with drafts and without. */
const TOKENS = "tokens";
const LEXICON = fileURLToPath(new URL("../models/lexicon", import.meta.url));
const SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

interface NetworkCase {
  /** As --only has it. */
  readonly name: string;
  readonly title: string;
  readonly shape: string;
  readonly modules: readonly string[];
  /** What the adapter adds to a module's output: so small that the base model agrees with most tokens. */
  readonly part: number;
}

const CASES: readonly NetworkCase[] = [
  {
    name: "q,v",
    title: "Qwen2.5-0.5B's shape, q and v",
    shape: "qwen2.5-0.5b",
    modules: ["q_proj", "v_proj"],
    part: 0.3,
  },
  {
    name: "all",
    title: "Qwen2.5-0.5B's shape, all seven modules",
    shape: "qwen2.5-0.5b",
    modules: SEVEN,
    part: 0.12,
  },
];
const LARGE: readonly NetworkCase[] = [
  {
    name: "q,v",
    title: "ChatGLM2-6B's shape, query_key_value",
    shape: "chatglm2-6b",
    modules: ["query_key_value"],
    part: 1,
  },
  {
    name: "all",
    title: "ChatGLM2-6B's shape, all modules",
    shape: "chatglm2-6b",
    modules: ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
    part: 0.08,
  },
];

export async function run(options: BenchOptions): Promise<Section[]> {
  const lines = LINES.filter(({ name }) => options.line === undefined || options.line === name);
  if (lines.length === 0) throw new Error(`no line named ${options.line}`);
  const known = [...MODES.map(({ name }) => name), TOKENS];
  const asks = options.modes ?? known;
  const unknown = asks.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`no measure named ${unknown}: there are ${known.join(", ")}`);
  if (options.quick) {
    const asked: Asked = { prompt: 64, tokens: 6 };
    const chosen = options.line === undefined ? lines.filter(({ isQuick }) => isQuick) : lines;
    const folders = { base: join(LEXICON, "base"), adapter: join(LEXICON, "law-adapter") };
    const title = "The embedded model, all seven modules";
    return await runCase(title, folders, chosen, asks, asked, "original");
  }
  const cases = [...CASES, ...(options.full ? LARGE : [])].filter(
    ({ shape, name }) =>
      (options.shape === undefined || options.shape === shape) &&
      (options.adapted === undefined || options.adapted === name),
  );
  if (cases.length === 0) throw new Error(`no case named ${options.shape} ${options.adapted}`);
  const sections: Section[] = [];
  for (const { title, name: _, ...shape } of cases) {
    const folders = seededFolders({ ...shape, rank: 8, smallLayers: 2 }, undefined);
    const asked: Asked = { prompt: 128, tokens: 10 };
    sections.push(...(await runCase(title, folders, lines, asks, asked, options.weights ?? "int4")));
  }
  return sections;
}

async function runCase(
  title: string,
  folders: { readonly base: string; readonly adapter: string },
  lines: readonly Line[],
  asks: readonly string[],
  asked: Asked,
  weights: NetworkModel["weights"],
): Promise<Section[]> {
  const checkpoint = await openCheckpoint(nodeFileTree(folders.base));
  const adapter = await openLoraAdapter(nodeFileTree(folders.adapter));
  const fitted = await fitAdapter(adapter, checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const input = { adapter: "bench", baseFingerprint, ...fitted };
  const folder = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  const cleanUp: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const serve = async (name: string, invocationTokens?: readonly number[]): Promise<string> => {
    const state = join(folder, name);
    await writeStateFolder(state, await createBundle({ ...input, invocationTokens }, systemRandom));
    const { child, url } = await startProvider(state);
    cleanUp.push(() => child.kill());
    return url;
  };
  try {
    const always = await serve("always");
    const activated = asks.includes("alora") ? await serve("activated", INVOCATION) : always;
    const model: NetworkModel = { checkpoint, baseFingerprint, weights };
    const isWhole = asks.length > MODES.length;
    const results: Measured[] = [];
    const drafted: DraftedTokens[] = [];
    for (const line of lines) {
      for (const mode of MODES.filter(({ name }) => asks.includes(name))) {
        console.error(`${title}: ${line.name}, ${mode.name} …`);
        const url = mode.isActivated ? activated : always;
        const link = line.options && (await startLink(url, line.options));
        try {
          results.push({ line, mode, ...(await measureOver(link?.url ?? url, model, mode, asked)) });
        } finally {
          await link?.close();
        }
      }
      const ways = !asks.includes(TOKENS) ? [] : isWhole ? [0, undefined] : [undefined];
      for (const drafts of ways) {
        console.error(`${title}: ${line.name}, ${drafts === 0 ? "no drafts" : "drafts"} …`);
        const link = line.options && (await startLink(always, line.options));
        try {
          drafted.push(await measureDrafts(link?.url ?? always, model, line, drafts, 4 * asked.tokens));
        } finally {
          await link?.close();
        }
      }
    }
    const tables = results.length === 0 ? [] : [reportNetwork(results, asked)];
    if (drafted.length > 0)
      tables.push(reportDrafts(drafted, await agreementOn(drafted[0].ids, model, new LocalLora(fitted))));
    const before = results.filter(({ invocation }) => invocation !== undefined);
    if (before.length > 0) tables.push(reportActivated(before, await basePromptMs(model, asked), asked));
    const body = tables.join("\n\n");
    const measured = { title, body };
    if (!lines.some(({ options }) => options) || !isWhole) return [measured];
    return [measured, { title: `${title}: the line alone, computed`, body: reportComputed(results, asked) }];
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}
