/** A model in several GGUF files is the one that they were split from; what does not belong together is refused by name. */
import { describe, expect, it } from "vitest";
import { goldenHfFolder } from "../../../test/support/golden-hf.ts";
import { folderGguf } from "../../../tools/gguf/from-folder.ts";
import { partName, splitGguf } from "../../../tools/gguf/split-gguf.ts";
import { type GgufFile, ggufBytes } from "../../../tools/gguf/write-gguf.ts";
import type { TacetError } from "../../base/errors.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint.ts";
import { memoryFileTree } from "../memory-files.ts";
import { ggufFiles } from "../model-files.ts";

/** Matrices turned or reordered, experts, rotary factors and several kinds of text beside plain ones. */
const FOLDERS = ["llama-yarn", "phi3", "gpt_oss", "bloom", "qwen3_moe"].map((name) => `tiny/${name}`);

type Parts = Record<string, GgufFile>;

function partsOf(file: GgufFile, counts: readonly number[]): Parts {
  const parts = splitGguf(file, counts);
  return Object.fromEntries(parts.map((part, i) => [partName("m", i, parts.length), part]));
}

const treeOf = (parts: Parts) =>
  memoryFileTree(Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, ggufBytes(part)])));

async function contentsOf({ tree, config, names, tensor, storedAs }: Checkpoint) {
  const texts: Record<string, string> = {};
  for (const name of await tree.list()) {
    if (!name.endsWith(".gguf"))
      texts[name] = Buffer.from(await tree.read(name, 0, (await tree.size(name))!)).toString();
  }
  const tensors: Record<string, unknown> = {};
  for (const name of names) {
    const { path, offset, bytes, dtype, shape } = tensor(name);
    tensors[name] = [dtype, shape, Buffer.from(await tree.read(path, offset, bytes)).toString("base64")];
  }
  return { config, names, storedAs, texts, tensors };
}

it.each(FOLDERS)("%s in parts is what it is in one file", async (name) => {
  const file = await folderGguf(goldenHfFolder(name));
  const { length } = file.tensors;
  const whole = await contentsOf(await openCheckpoint(memoryFileTree({ "m.gguf": ggufBytes(file) })));
  for (const counts of [[length - 1, 1], [0, length], [1, 2, length - 3], file.tensors.map(() => 1)]) {
    const checkpoint = await openCheckpoint(treeOf(partsOf(file, counts)));
    expect(await contentsOf(checkpoint)).toEqual(whole);
    // Its own tensors lie where they are: each in a file that has it.
    const { files } = checkpoint;
    for (const name of files!.names) {
      const { path, offset, bytes } = files!.tensor(name);
      expect((await files!.tree.read(path, offset, bytes)).length).toBe(bytes);
    }
  }
});

describe("parts that are no model are refused", () => {
  const names = [0, 1, 2].map((i) => partName("m", i, 3));
  const change = (parts: Parts, i: number, metadata: GgufFile["metadata"]): Parts => ({
    ...parts,
    [names[i]]: { ...parts[names[i]], metadata: { ...parts[names[i]].metadata, ...metadata } },
  });
  const without = (parts: Parts, i: number): Parts =>
    Object.fromEntries(Object.entries(parts).filter(([name]) => name !== names[i]));
  const faults: readonly [string, (parts: Parts) => Parts, RegExp, RegExp?][] = [
    [
      "the second is missing",
      (parts) => without(parts, 1),
      /^m-00002-of-00003\.gguf is missing: the model has 3/,
    ],
    ["the first is missing", (parts) => without(parts, 0), /^m-00001-of-00003\.gguf is missing/],
    [
      "two have changed names",
      (parts) => ({ ...parts, [names[1]]: parts[names[2]], [names[2]]: parts[names[1]] }),
      /^m-00002-of-00003\.gguf: "split\.no" is 2 and "split\.count" 3, where its name says 1 and 3/,
    ],
    [
      "one of another split",
      (parts) => change(parts, 1, { "split.count": ["uint16", 4] }),
      /"split\.count" 4/,
    ],
    [
      "one that says nothing of it",
      (parts) => change(parts, 2, { "split.no": ["string", "x"] }),
      /"split\.no" is NaN/,
    ],
    [
      "a tensor is there twice",
      (parts) => ({
        ...parts,
        [names[2]]: { ...parts[names[2]], tensors: [...parts[names[2]].tensors, parts[names[0]].tensors[0]] },
      }),
      /^m-00003-of-00003\.gguf: tensor "[^"]+" is in another part too/,
    ],
    [
      "a tensor has gone",
      (parts) => ({ ...parts, [names[1]]: { ...parts[names[1]], tensors: [] } }),
      /^m-00001-of-00003\.gguf: "split\.tensors\.count" is \d+, and the parts have \d+ tensors/,
    ],
    [
      "other names",
      (parts) => ({ "model.gguf": parts[names[0]] }),
      /^model\.gguf is one of 3 parts of a model, and is not called so/,
      /call them NAME-00001-of-00003\.gguf/,
    ],
    [
      "the number of parts is text",
      (parts) => change(parts, 0, { "split.count": ["string", "3"] }),
      /^m-00001-of-00003\.gguf: "split\.count" must be a number/,
    ],
  ];

  it.each(faults)("%s", async (_what, damage, message, hint = /./) => {
    const file = await folderGguf(goldenHfFolder(FOLDERS[0]));
    const parts = partsOf(file, [2, 3, file.tensors.length - 5]);
    const error = (await openCheckpoint(treeOf(damage(parts))).catch((error) => error)) as TacetError;
    expect(error).toMatchObject({ code: "bad_checkpoint", message: expect.stringMatching(message) });
    expect(error.hint).toMatch(hint);
  });

  it("a part that was cut short, by its own name", async () => {
    const file = await folderGguf(goldenHfFolder(FOLDERS[0]));
    const parts = Object.entries(partsOf(file, [2, 3, file.tensors.length - 5]));
    const cut = Object.fromEntries(
      parts.map(([name, part], i) => [name, ggufBytes(part).slice(0, i === 1 ? -40 : undefined)]),
    );
    const opened = openCheckpoint(memoryFileTree(cut));
    await expect(opened).rejects.toThrow(/^m-00002-of-00003\.gguf: tensor "[^"]+" ends at byte/);
  });

  it("two models beside each other", async () => {
    const file = await folderGguf(goldenHfFolder(FOLDERS[0]));
    const parts = partsOf(file, [2, file.tensors.length - 2]);
    const opened = openCheckpoint(treeOf({ ...parts, "other.gguf": file }));
    await expect(opened).rejects.toMatchObject({ message: expect.stringMatching(/has several GGUF files/) });
  });
});

it.each([
  ["model.gguf", ["model.gguf"]],
  ["m-00001-of-00002.gguf", ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]],
  ["a-b-00002-of-00002.GGUF", ["a-b-00001-of-00002.GGUF", "a-b-00002-of-00002.GGUF"]],
  ["m-00003-of-00002.gguf", ["m-00003-of-00002.gguf"]],
  ["m-00000-of-00002.gguf", ["m-00000-of-00002.gguf"]],
  ["m-1-of-2.gguf", ["m-1-of-2.gguf"]],
])("by its name %s is one of %j", (name, names) => {
  expect(ggufFiles(name)).toEqual(names);
});
