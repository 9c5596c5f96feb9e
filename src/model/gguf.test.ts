import { mkdtempSync, readFileSync, rmSync, existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { folderGguf } from "../../tools/gguf/from-folder.ts";
import { writeGguf } from "../../tools/gguf/write-gguf.ts";
import { CausalLm, type LoadOptions } from "./causal-lm.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../platform/node.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { FAMILIES } from "../weights/gguf/families.ts";

const dir = mkdtempSync(join(tmpdir(), "tacet-gguf-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const weightCache = nodeFileCache(join(dir, "cache"));
const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

const known = new Set(FAMILIES.map(({ architecture }) => architecture));
const folders = ["test/fixtures/golden", "test/fixtures/golden-hf"].flatMap((root) =>
  readdirSync(root).map((name) => join(root, name)).filter((folder) => {
    if (!existsSync(join(folder, "config.json"))) return false;
    return known.has(JSON.parse(readFileSync(join(folder, "config.json"), "utf8")).architectures[0]);
  }),
);

async function load(path: string, options: LoadOptions = {}): Promise<CausalLm> {
  const checkpoint = await openCheckpoint(nodeFileTree(path));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { weightCache, ...options });
  models.push(model);
  return model;
}

describe.each(folders)("%s", (folder) => {
  const golden = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8"));
  it("in F32 has the original's logits", async () => {
    const path = join(dir, `${folder.replaceAll("/", "-")}.gguf`);
    writeGguf(path, await folderGguf(folder));
    const model = await load(path);
    const logits = await model.forward(golden.input_ids, model.newCache());
    const share = golden.logits_last.map((value: number, i: number) => Math.abs(logits[i] - value) / (2e-4 + 1e-4 * Math.abs(value)));
    expect(Math.max(...share)).toBeLessThan(1);
  });
});
