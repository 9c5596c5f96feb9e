// Several answers at once: tokens a second of all together, against one alone. The embedded model through a line; with
// --shape a shape with seeded weights, without one unless --line names it.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { openPrivateModel, type PrivateModel } from "../src/client/private-model.ts";
import { generate } from "../src/generation/generate.ts";
import { writeStateFolder } from "../src/library/node-state-folder.ts";
import { fitAdapter } from "../src/model/adapter/fit-adapter.ts";
import type { CausalLm } from "../src/model/causal-lm.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../src/platform/node.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import { startLink } from "../test/support/link/link.ts";
import { type BenchOptions, formatMs, markdownTable, type Section } from "./harness.ts";
import { LINES, type Line } from "./network/lines.ts";
import { startProvider } from "./provider-process.ts";
import { benchCache, seededFolders } from "./seeded-model.ts";

const LEXICON = join(fileURLToPath(new URL("..", import.meta.url)), "models/lexicon");
const AT_ONCE = [1, 2, 4, 8];
const MODULES = { "q and v": ["q_proj", "v_proj"], fused: ["query_key_value"] };
/** A line that carries eight answers' vectors. */
const WIDE: Line = {
  name: "wide",
  title: "30 ms, 100/100 Mbit/s",
  options: { roundTripMs: 30, upMbits: 100, downMbits: 100 },
};

interface Case {
  readonly title: string;
  readonly folders: { readonly base: string; readonly adapter: string };
  readonly weights: NonNullable<BenchOptions["weights"]>;
  readonly prompts: readonly (readonly number[])[];
  readonly line: Line;
  readonly tokens: number;
}

export async function run(options: BenchOptions): Promise<Section[]> {
  const line = LINES.find(({ name }) => name === options.line);
  if (options.line !== undefined && line === undefined) throw new Error(`no line named ${options.line}`);
  if (options.shape === undefined) {
    const { entries } = JSON.parse(readFileSync(join(LEXICON, "expected.json"), "utf8"));
    return await runCase({
      title: "embedded model",
      folders: { base: join(LEXICON, "base"), adapter: join(LEXICON, "law-adapter") },
      weights: "original",
      prompts: entries.map(({ prompt_ids }: { prompt_ids: number[] }) => prompt_ids),
      line: line ?? WIDE,
      tokens: options.quick ? 6 : 24,
    });
  }
  const { shape } = options;
  const modules = shape.startsWith("chatglm") ? MODULES.fused : MODULES["q and v"];
  const folders = seededFolders({ shape, modules, rank: 8, part: 0.3, smallLayers: 2 }, undefined);
  return await runCase({
    title: `${shape}'s shape, ${modules.join(" and ")}, ${options.weights ?? "int4"}`,
    folders,
    weights: options.weights ?? "int4",
    prompts: Array.from({ length: 8 }, (_, i) => Array.from({ length: 16 }, (_, t) => 100 + 37 * i + 5 * t)),
    line: line ?? LINES[0],
    tokens: options.quick ? 6 : 24,
  });
}

async function runCase({ title, folders, weights, prompts, line, tokens }: Case): Promise<Section[]> {
  const checkpoint = await openCheckpoint(nodeFileTree(folders.base));
  const fitted = await fitAdapter(await openLoraAdapter(nodeFileTree(folders.adapter)), checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const state = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  await writeStateFolder(
    state,
    await createBundle({ adapter: "bench", baseFingerprint, ...fitted }, systemRandom),
  );
  const { child, url } = await startProvider(state);
  const link = line.options && (await startLink(url, line.options));
  const weightCache = nodeFileCache(join(benchCache(), "weights"));
  const open = (parallel: number): Promise<PrivateModel> =>
    openPrivateModel(nodePlatform(), {
      ...{ base: checkpoint, provider: link?.url ?? url, weights, weightCache, parallel },
    });
  try {
    const rows: string[][] = [];
    for (const parallel of [1, AT_ONCE[AT_ONCE.length - 1]]) {
      const { model, close } = await open(parallel);
      const measured = await measureAnswers(model, prompts, tokens);
      rows.push(...measured.map((row) => [parallel === 1 ? "apart" : "together", ...row]));
      await close();
    }
    const header = [
      "products",
      "answers",
      "tokens a second",
      "of one alone",
      "a token of each",
      "of it the base model",
      "other than alone",
    ];
    return [{ title: `Answers at once, ${line.title}, ${title}`, body: markdownTable(header, rows) }];
  } finally {
    await link?.close();
    child.kill();
    rmSync(state, { recursive: true, force: true });
  }
}

async function measureAnswers(
  model: CausalLm,
  prompts: Case["prompts"],
  tokens: number,
): Promise<string[][]> {
  // Keys, and what look-ahead asks once.
  await Promise.all(prompts.slice(0, 8).map((prompt) => answer(model, prompt, 4)));
  const alone: string[] = [];
  const rows: string[][] = [];
  let single = 0;
  for (const together of AT_ONCE) {
    const before = model.timings;
    const answers = await Promise.all(prompts.slice(0, together).map((p) => answer(model, p, tokens)));
    const { modelMs, forwards } = model.timings;
    const rate = answers.reduce((sum, { ids, ms }) => sum + (1000 * (ids.length - 1)) / ms, 0);
    if (together === 1) single = rate;
    let others = 0;
    for (const [i, { ids }] of answers.entries()) {
      alone[i] ??= (together === 1 ? ids : (await answer(model, prompts[i], tokens)).ids).join();
      if (alone[i] !== ids.join()) others++;
    }
    rows.push([
      `${together}`,
      rate.toFixed(1),
      (rate / single).toFixed(1),
      formatMs((1000 * together) / rate),
      formatMs((modelMs - before.modelMs) / (forwards - before.forwards)),
      `${others}`,
    ]);
  }
  return rows;
}

/** Its ids, and the milliseconds from the first to the last one. */
async function answer(
  model: CausalLm,
  promptIds: readonly number[],
  maxNewTokens: number,
): Promise<{ readonly ids: number[]; readonly ms: number }> {
  const ids: number[] = [];
  let start = 0;
  for await (const { id } of generate(model, promptIds, { maxNewTokens })) {
    if (ids.length === 0) start = performance.now();
    ids.push(id);
  }
  return { ids, ms: performance.now() - start };
}
