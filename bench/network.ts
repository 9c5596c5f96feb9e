// What a prompt and a token cost over a line between client and provider: a relay in a separate process stands between
// them (test/support/link). Every mode reads the same ids. --quick: the embedded model, two lines, few tokens.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { writeStateFolder } from "../src/library/node-state-folder.ts";
import { fitAdapter } from "../src/model/adapter/fit-adapter.ts";
import { nodeFileTree } from "../src/platform/node.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import { startLink } from "../test/support/link/link.ts";
import type { BenchOptions, Section } from "./harness.ts";
import { seededFolders } from "./large/seeded-model.ts";
import { LINES, type Line } from "./network/lines.ts";
import { type Asked, MODES, measureOver, type NetworkModel } from "./network/measure-over.ts";
import { type Measured, reportNetwork } from "./network/report-network.ts";
import { startProvider } from "./provider-process.ts";

const LEXICON = fileURLToPath(new URL("../models/lexicon", import.meta.url));
const SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

interface NetworkCase {
  readonly title: string;
  readonly shape: string;
  readonly modules: readonly string[];
}

const CASES: readonly NetworkCase[] = [
  { title: "Qwen2.5-0.5B's shape, q and v", shape: "qwen2.5-0.5b", modules: ["q_proj", "v_proj"] },
  { title: "Qwen2.5-0.5B's shape, all seven modules", shape: "qwen2.5-0.5b", modules: SEVEN },
];
const LARGE: readonly NetworkCase[] = [
  { title: "ChatGLM2-6B's shape, query_key_value", shape: "chatglm2-6b", modules: ["query_key_value"] },
  {
    title: "ChatGLM2-6B's shape, all modules",
    shape: "chatglm2-6b",
    modules: ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
  },
];

export async function run(options: BenchOptions): Promise<Section[]> {
  const lines = LINES.filter(({ name }) => options.line === undefined || options.line === name);
  if (lines.length === 0) throw new Error(`no line named ${options.line}`);
  if (options.quick) {
    const asked: Asked = { prompt: 64, tokens: 6 };
    const chosen = options.line === undefined ? lines.filter(({ isQuick }) => isQuick) : lines;
    const folders = { base: join(LEXICON, "base"), adapter: join(LEXICON, "law-adapter") };
    return [await runCase("The embedded model, all seven modules", folders, chosen, asked, "original")];
  }
  const cases = [...CASES, ...(options.full ? LARGE : [])].filter(
    ({ shape }) => options.shape === undefined || options.shape === shape,
  );
  if (cases.length === 0) throw new Error(`no case named ${options.shape}`);
  const sections: Section[] = [];
  for (const { title, shape, modules } of cases) {
    const folders = seededFolders({ shape, modules, rank: 8, smallLayers: 2 }, undefined);
    const asked: Asked = { prompt: 128, tokens: 12 };
    sections.push(await runCase(title, folders, lines, asked, options.weights ?? "int4"));
  }
  return sections;
}

async function runCase(
  title: string,
  folders: { readonly base: string; readonly adapter: string },
  lines: readonly Line[],
  asked: Asked,
  weights: NetworkModel["weights"],
): Promise<Section> {
  const checkpoint = await openCheckpoint(nodeFileTree(folders.base));
  const adapter = await openLoraAdapter(nodeFileTree(folders.adapter));
  const groups = fitAdapter(adapter, checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const input = { adapter: "bench", baseFingerprint, groups, modules: adapter.modules };
  const made = await createBundle(input, systemRandom);
  const state = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  const cleanUp: (() => unknown)[] = [() => rmSync(state, { recursive: true, force: true })];
  try {
    await writeStateFolder(state, made);
    const { child, url } = await startProvider(state);
    cleanUp.push(() => child.kill());
    const model: NetworkModel = { checkpoint, baseFingerprint, weights };
    const results: Measured[] = [];
    for (const line of lines) {
      const link = line.options && (await startLink(url, line.options));
      try {
        for (const mode of MODES) {
          console.error(`${title}: ${line.name}, ${mode.name} …`);
          results.push({ line, mode, ...(await measureOver(link?.url ?? url, model, mode, asked)) });
        }
      } finally {
        await link?.close();
      }
    }
    return { title, body: reportNetwork(results, asked) };
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}
