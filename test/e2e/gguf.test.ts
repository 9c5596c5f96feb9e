/** A GGUF file of the embedded model as a base: every command, and an adapter whose bundle was made for the original. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { folderGguf } from "../../tools/gguf/from-folder.ts";
import { writeParts } from "../../tools/gguf/split-gguf.ts";
import { bpeMetadata } from "../../tools/gguf/tokenizer-metadata.ts";
import { type GgufFile, writeGguf } from "../../tools/gguf/write-gguf.ts";
import { greedyIds, LEXICON, lexicon, lexiconEntries, readJson, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { runTacet } from "../support/tacet-process.ts";

const BASE = join(LEXICON, "base");
const folder = temporaryFolder();
const wide = join(folder.path, "wide.gguf");
const blocks = join(folder.path, "q8.gguf");
const cache = join(folder.path, "weights");
/** An answer that the adapter changes. */
const entry = lexiconEntries().find(({ word }) => word === "battery")!;

let rounded: GgufFile;

beforeAll(async () => {
  const tokenizer = bpeMetadata(
    readJson(join(BASE, "tokenizer.json")),
    readJson(join(BASE, "tokenizer_config.json")),
    "gpt-2",
  );
  writeGguf(wide, await folderGguf(BASE, { type: "BF16", tokenizer }));
  rounded = await folderGguf(BASE, { type: "Q8_0", tokenizer });
  writeGguf(blocks, rounded);
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

const run = async (...args: string[]) => {
  const env = { PATH: process.env.PATH, HOME: folder.path, XDG_CACHE_HOME: cache };
  const result = await runTacet(args, { cwd: folder.path, env });
  if (result.code !== 0) throw new Error(result.stderr);
  return result.stdout;
};

it("is compared with its original in figures", async () => {
  const compare = async (base: string, against: string, ...more: string[]) =>
    JSON.parse(
      await run("inspect", "--base", base, "--against", against, ...more, "--tokens", "128", "--json"),
    );
  const same = await compare(BASE, wide);
  expect(same).toMatchObject({ tokens: 128, positions: 127, sameLikeliest: 127, relativeRms: 0, klNats: 0 });
  expect(same.against.storedAs).toBe("GGUF, BF16");
  expect(same.relation).toMatch(/adapters for the first are served to the second/);
  const rounded = await compare(BASE, blocks);
  expect(rounded.relativeRms).toBeGreaterThan(0);
  expect(rounded.relativeRms).toBeLessThan(0.05);
  expect(rounded.against.fileBytes).toBeLessThan(0.6 * rounded.base.fileBytes);
  // The other way round too, and with weights of its own.
  expect((await compare(blocks, BASE, "--against-weights", "int4")).relation).toMatch(/same norms, biases/);
});

describe("the command line with --base FILE.gguf", () => {
  it("generates what the folder generates, with an adapter too", async () => {
    for (const more of [[], ["--adapter", join(LEXICON, "law-adapter")]]) {
      const want = await run("generate", "--base", BASE, ...more, "battery");
      expect(await run("generate", "--base", wide, ...more, "battery")).toBe(want);
    }
    const { adapter } = entry;
    const answer = await run(
      "generate",
      "--base",
      blocks,
      "--adapter",
      join(LEXICON, "law-adapter"),
      "battery",
    );
    expect(answer).toContain(adapter.text);
  });

  it("tells what it is", async () => {
    const facts = JSON.parse(await run("inspect", "--base", blocks, "--json", "--check-weights"));
    expect(facts).toMatchObject({
      architectures: ["LlamaForCausalLM"],
      storedAs: "GGUF, Q8_0",
      tokenizer: true,
      weightsFinite: true,
    });
    const original = JSON.parse(await run("inspect", "--base", BASE, "--json"));
    expect(facts.vectorsFingerprint).toBe(original.vectorsFingerprint);
    expect(facts.fingerprint).not.toBe(original.fingerprint);
  });

  it("compares logits of a file with those of the folder", async () => {
    const out = await run("logits", "--base", blocks, "--ids", entry.prompt_ids.join(","), "--top", "3");
    expect(out).toBeTruthy();
  });

  it("takes a folder that has one file, and refuses one that has two", async () => {
    const [one, two] = ["one", "two"].map((name) => join(folder.path, name));
    for (const [dir, names] of [
      [one, ["a.gguf"]],
      [two, ["a.gguf", "b.gguf"]],
    ] as const) {
      mkdirSync(dir);
      for (const name of names) copyFileSync(blocks, join(dir, name));
    }
    expect(await run("inspect", "--base", one)).toContain("GGUF");
    await expect(run("inspect", "--base", two)).rejects.toThrow(/several GGUF files: a\.gguf, b\.gguf/);
    await expect(run("inspect", "--base", "nowhere.gguf")).rejects.toThrow(/nowhere\.gguf: no such file/);
    await expect(run("inspect", "--base", "org/name.gguf")).rejects.toThrow(/name\.gguf: no such file/);
  });

  it("takes a model in parts by any of them, or by its folder", async () => {
    const dir = join(folder.path, "parts");
    mkdirSync(dir);
    const names = writeParts(join(dir, "m"), rounded, [0, 40, rounded.tensors.length - 40]);
    const want = await run("generate", "--base", blocks, "battery");
    for (const base of [names[0], names[2], dir]) {
      expect(await run("generate", "--base", base, "battery")).toBe(want);
    }
    rmSync(names[1]);
    await expect(run("generate", "--base", names[2], "battery")).rejects.toThrow(
      /m-00002-of-00003\.gguf is missing: the model has 3 parts\nhint: put all parts into one folder/,
    );
  });

  it("names file and field of what is wrong", async () => {
    const cut = join(folder.path, "cut.gguf");
    writeFileSync(cut, readFileSync(blocks).subarray(0, -1000));
    await expect(run("generate", "--base", cut, "battery")).rejects.toThrow(
      /cut\.gguf: tensor "[^"]+" ends at byte \d+, the file has \d+/,
    );
  });
});

describe("privately", () => {
  it("a bundle that was made for the original is served to the file", async () => {
    const state = join(folder.path, "state");
    const original = await lexicon();
    await original.writeState(state);
    const { url } = await startProvider(state);
    const options = { base: nodeFileTree(blocks), provider: url, weightCache: nodeFileCache(cache) };
    const model = await openPrivateModel(nodePlatform(), options);
    try {
      expect(await greedyIds(model.model, entry.prompt_ids)).toEqual([...entry.adapter.ids]);
    } finally {
      await model.close();
    }
  });
});
