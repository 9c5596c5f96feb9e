import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { modelFilesOf } from "./model-files.ts";

const root = mkdtempSync(join(tmpdir(), "tacet-files-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
let next = 0;
beforeEach(() => {
  folder = join(root, `${next++}`);
  mkdirSync(folder);
});

const write = (...names: string[]): void => {
  for (const name of names) {
    mkdirSync(join(folder, name, ".."), { recursive: true });
    writeFileSync(join(folder, name), name);
  }
};
const served = async (): Promise<string[]> => (await modelFilesOf(folder)).map(({ path }) => path);

describe("what the browser gets of a model's folder", () => {
  it("is what a client reads, and nothing else", async () => {
    const wanted = [
      ...[
        "added_tokens.json",
        "additional_chat_templates/default.jinja",
        "chat_template.jinja",
        "config.json",
      ],
      ...["model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenization_chatglm.py"],
      ...["tokenizer.json", "tokenizer.model", "tokenizer_config.json"],
    ];
    write(
      ...wanted,
      "notes.txt",
      ".env",
      "sub/model.safetensors",
      "pytorch_model.bin",
      "adapter_config.json",
    );
    expect(await served()).toEqual(wanted);
  });

  it("is the GGUF file that was named, or the only one of a folder without config.json", async () => {
    write("a.gguf", "notes.txt");
    expect(await served()).toEqual(["a.gguf"]);
    write("b.gguf", "config.json", "model.safetensors");
    expect(await served()).toEqual(["config.json", "model.safetensors"]);
    expect((await modelFilesOf(join(folder, "b.gguf"))).map(({ path }) => path)).toEqual(["b.gguf"]);
  });

  it("is all parts of the GGUF model of which one was named", async () => {
    const parts = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    write("a.gguf", "m-00001-of-00003.gguf", ...parts);
    for (const part of parts) {
      expect((await modelFilesOf(join(folder, part))).map(({ path }) => path)).toEqual(parts);
    }
  });

  it.each([
    ["to a file elsewhere", "/etc/passwd"],
    ["to a file beside the folder", join(root, "secret")],
    ["by a relative path", "../secret"],
  ])("is refused with a link %s", async (_, target) => {
    writeFileSync(join(root, "secret"), "s");
    write("config.json");
    for (const name of ["x.safetensors", "tokenizer.json"]) {
      symlinkSync(target, join(folder, name));
      await expect(served()).rejects.toMatchObject({
        code: "bad_checkpoint",
        message: expect.stringMatching(`${name.replace(".", "\\.")} is a link`),
      });
      rmSync(join(folder, name));
    }
    symlinkSync(target, join(folder, "no model file"));
    symlinkSync("nowhere", join(folder, "y.safetensors"));
    expect(await served()).toEqual(["config.json"]);
  });

  it("is refused where a folder in it leads out", async () => {
    mkdirSync(join(root, "outside"), { recursive: true });
    writeFileSync(join(root, "outside/default.jinja"), "s");
    symlinkSync(join(root, "outside"), join(folder, "additional_chat_templates"));
    write("config.json");
    // Links to folders are not entered at all, or what is behind them is refused.
    const found = await served().catch(({ code }: { code: string }) => [code]);
    expect([["config.json"], ["bad_checkpoint"]]).toContainEqual(found);
  });

  it("follows links within the folder, and those of a snapshot of the hub's cache", async () => {
    write("weights", "config.json");
    symlinkSync("weights", join(folder, "model.safetensors"));
    expect(await served()).toEqual(["config.json", "model.safetensors"]);

    const repository = join(folder, "models--org--name");
    const snapshot = join(repository, "snapshots", "0123456789abcdef0123456789abcdef01234567");
    mkdirSync(join(repository, "blobs"), { recursive: true });
    mkdirSync(snapshot, { recursive: true });
    writeFileSync(join(repository, "blobs/abc"), "{}");
    symlinkSync("../../blobs/abc", join(snapshot, "config.json"));
    expect((await modelFilesOf(snapshot)).map(({ path }) => path)).toEqual(["config.json"]);
    // Another repository's are not its own.
    symlinkSync("../../../weights", join(snapshot, "model.safetensors"));
    await expect(modelFilesOf(snapshot)).rejects.toMatchObject({ code: "bad_checkpoint" });
  });
});
