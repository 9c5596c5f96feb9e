// Several answers at once through a line: tokens a second of all together, against one alone, on the embedded model.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createBundle } from "../src/bundle/create-bundle.ts";
import { openPrivateModel } from "../src/client/private-model.ts";
import { generate } from "../src/generation/generate.ts";
import { writeStateFolder } from "../src/library/node-state-folder.ts";
import { fitAdapter } from "../src/model/adapter/fit-adapter.ts";
import type { CausalLm } from "../src/model/causal-lm.ts";
import { nodeFileTree, nodePlatform } from "../src/platform/node.ts";
import { systemRandom } from "../src/ring/random-source.ts";
import { openCheckpoint } from "../src/weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../src/weights/fingerprint.ts";
import { openLoraAdapter } from "../src/weights/lora-adapter.ts";
import { startLink } from "../test/support/link/link.ts";
import { type BenchOptions, markdownTable, type Section } from "./harness.ts";
import { startProvider } from "./provider-process.ts";

const LEXICON = join(fileURLToPath(new URL("..", import.meta.url)), "models/lexicon");
const LINE = { roundTripMs: 30, upMbits: 100, downMbits: 100 };
const AT_ONCE = [1, 2, 4, 8];

export async function run({ quick }: BenchOptions): Promise<Section[]> {
  const { entries } = JSON.parse(readFileSync(join(LEXICON, "expected.json"), "utf8"));
  const prompts: number[][] = entries.map(({ prompt_ids }: { prompt_ids: number[] }) => prompt_ids);
  const checkpoint = await openCheckpoint(nodeFileTree(join(LEXICON, "base")));
  const adapter = await openLoraAdapter(nodeFileTree(join(LEXICON, "law-adapter")));
  const fitted = await fitAdapter(adapter, checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const state = mkdtempSync(join(tmpdir(), "tacet-bench-"));
  const made = await createBundle({ adapter: "law", baseFingerprint, ...fitted }, systemRandom);
  await writeStateFolder(state, made);
  const { child, url } = await startProvider(state);
  const link = await startLink(url, LINE);
  try {
    const remote = await openPrivateModel(nodePlatform(), { base: checkpoint, provider: link.url });
    const most = quick ? 6 : 24;
    await answer(remote.model, prompts[0], most); // keys, and what look-ahead asks once
    const alone = new Map<number, string>();
    const rows: string[][] = [];
    let single = 0;
    for (const together of AT_ONCE) {
      const start = performance.now();
      const ids = await Promise.all(
        Array.from({ length: together }, (_, i) => answer(remote.model, prompts[i], most)),
      );
      const rate = (1000 * ids.flat().length) / (performance.now() - start);
      if (together === 1) single = rate;
      rows.push([`${together}`, rate.toFixed(1), `${(rate / single).toFixed(1)}`]);
      if (together < AT_ONCE[AT_ONCE.length - 1]) continue;
      for (const [i, got] of ids.entries()) {
        alone.set(i, (await answer(remote.model, prompts[i], most)).join());
        if (alone.get(i) !== got.join()) rows.push([`answer ${i} differs from its own alone`, "", ""]);
      }
    }
    await remote.close();
    const title = `Answers at once, ${LINE.roundTripMs} ms round trip, ${LINE.upMbits} Mbit/s, embedded model`;
    return [{ title, body: markdownTable(["answers", "tokens a second", "of one alone"], rows) }];
  } finally {
    await link.close();
    child.kill();
    rmSync(state, { recursive: true, force: true });
  }
}

async function answer(
  model: CausalLm,
  promptIds: readonly number[],
  maxNewTokens: number,
): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generate(model, promptIds, { maxNewTokens })) ids.push(id);
  return ids;
}
