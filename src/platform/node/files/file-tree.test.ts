import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nodeFileTree } from "./file-tree.ts";

let outer: string;
let root: string;

beforeAll(() => {
  outer = mkdtempSync(join(tmpdir(), "tacet-files-"));
  root = join(outer, "root");
  mkdirSync(join(root, "sub"), { recursive: true });
  writeFileSync(
    join(root, "a.bin"),
    Uint8Array.from({ length: 100 }, (_, i) => i),
  );
  writeFileSync(join(root, "sub", "b.txt"), "b");
  writeFileSync(join(outer, "blob"), "blob");
  symlinkSync("../blob", join(root, "linked"));
});
afterAll(() => rmSync(outer, { recursive: true }));

describe("nodeFileTree", () => {
  it("reads ranges, sizes and names", async () => {
    const tree = nodeFileTree(root);
    expect(tree.label).toBe(root);
    expect(await tree.list()).toEqual(["a.bin", "linked"]);
    expect(await tree.size("a.bin")).toBe(100);
    expect(await tree.size("sub/b.txt")).toBe(1);
    expect(await tree.read("a.bin", 97, 3)).toEqual(Uint8Array.of(97, 98, 99));
    expect(await tree.read("a.bin", 100, 0)).toEqual(new Uint8Array(0));
    expect(await tree.read("linked", 0, 4)).toEqual(new Uint8Array(Buffer.from("blob")));
    expect(tree.nativePath("sub/b.txt")).toBe(join(root, "sub", "b.txt"));
  });

  it("of a GGUF file's path has that file, and the parts of the same model", async () => {
    const names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "m.gguf"];
    const dir = join(outer, "models");
    mkdirSync(dir);
    for (const name of [...names, "config.json"]) writeFileSync(join(dir, name), name);
    const part = nodeFileTree(join(dir, names[1]));
    expect(await part.list()).toEqual(names.slice(0, 2));
    expect(await part.size(names[0])).toBe(names[0].length);
    expect(await part.size("m.gguf")).toBeUndefined();
    const whole = nodeFileTree(join(dir, "m.gguf"));
    expect(await whole.list()).toEqual(["m.gguf"]);
    expect(await whole.size("config.json")).toBeUndefined();
  });

  it("says that a file or folder is not there", async () => {
    const tree = nodeFileTree(root);
    expect(await tree.size("no")).toBeUndefined();
    expect(await tree.size("a.bin/no")).toBeUndefined();
    expect(await tree.size("sub")).toBeUndefined();
    await expect(tree.read("no", 0, 1)).rejects.toMatchObject({ code: "io_failed" });
    expect(() => nodeFileTree(join(root, "no"))).toThrow(
      expect.objectContaining({ code: "io_failed", hint: expect.any(String) }),
    );
    expect(() => nodeFileTree(join(root, "a.bin"))).toThrow(/not a folder/);
  });

  it("refuses to read past the end without allocating", async () => {
    const tree = nodeFileTree(root);
    await expect(tree.read("a.bin", 98, 3)).rejects.toMatchObject({ code: "io_failed" });
    await expect(tree.read("a.bin", 0, 2 ** 52)).rejects.toMatchObject({ code: "io_failed" });
    await expect(tree.read("a.bin", -1, 1)).rejects.toThrow(RangeError);
  });

  it.each(["../blob", "sub/../../blob", "/etc/passwd", "", ".", "sub//b.txt", "..\\blob", "C:\\x", "a\0b"])(
    "refuses the path %j",
    async (path) => {
      const tree = nodeFileTree(root);
      await expect(tree.size(path)).rejects.toMatchObject({ code: "io_failed" });
      await expect(tree.read(path, 0, 1)).rejects.toMatchObject({ code: "io_failed" });
      expect(() => tree.nativePath(path)).toThrow(/not a path inside/);
    },
  );
});
