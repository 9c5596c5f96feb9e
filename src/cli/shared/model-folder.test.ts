/** A model by its id, through the command line, from a hub on this machine. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FakeHub, startFakeHub } from "../../../test/support/fake-hub.ts";
import { nameOf } from "./model-folder.ts";
import { runTacet } from "../../../test/support/tacet-process.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const filesOf = (dir: string) =>
  Object.fromEntries(readdirSync(dir).map((name) => [name, new Uint8Array(readFileSync(join(dir, name)))]));

let home: string;
let base: FakeHub;
let adapter: FakeHub;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "tacet-hub-cli-"));
  base = await startFakeHub("tacet/lexicon", filesOf(join(ROOT, "models/lexicon/base")));
  adapter = await startFakeHub("tacet/law", filesOf(join(ROOT, "models/lexicon/law-adapter")));
});
afterAll(async () => {
  await base.close();
  await adapter.close();
  rmSync(home, { recursive: true, force: true });
});

const tacet = (args: string[], env: Record<string, string>) =>
  runTacet(args, {
    cwd: home,
    env: { PATH: process.env.PATH ?? "", HOME: home, HF_HUB_CACHE: join(home, "hub"), ...env },
  });

describe("hub ids on the command line", () => {
  it("base and adapter are fetched, and found again without the hub", async () => {
    const facts = await tacet(["inspect", "--adapter", "tacet/law", "--json"], {
      HF_ENDPOINT: adapter.endpoint,
    });
    expect(facts).toMatchObject({ code: 0, stderr: "" });
    const args = ["generate", "--base", "tacet/lexicon", "--adapter", "tacet/law", "battery", "--json"];
    // The base from its hub; the adapter, which this hub does not have, is at home.
    const first = await tacet(["inspect", "--base", "tacet/lexicon"], { HF_ENDPOINT: base.endpoint });
    expect(first).toMatchObject({ code: 0 });
    const { code, stdout } = await tacet(args, { HF_HUB_OFFLINE: "1" });
    expect(code).toBe(0);
    const { entries } = JSON.parse(readFileSync(join(ROOT, "models/lexicon/expected.json"), "utf8"));
    const expected = entries.find(({ word }: { word: string }) => word === "battery");
    expect(JSON.parse(stdout).ids).toEqual(expected.adapter.ids);
  });

  it("a mistyped path is not sent to the hub, an id that is nowhere is an error", async () => {
    mkdirSync(join(home, "models"));
    base.seen.length = 0;
    const typo = await tacet(["inspect", "--base", "models/mistyped"], { HF_ENDPOINT: base.endpoint });
    expect(typo.code).toBe(2);
    expect(typo.stderr).toMatch(/models\/mistyped: no such folder\nhint: .*models\/mistyped@main/);
    expect(base.seen).toEqual([]);
    const nowhere = await tacet(["inspect", "--base", "org/absent"], { HF_ENDPOINT: base.endpoint });
    expect(nowhere.code).toBe(3);
    expect(nowhere.stderr).toMatch(/^error: .*there is no model org\/absent@main \(404\)\nhint: /);
  });

  it("names an adapter after the last part", () => {
    expect(["org/law@v2", "/a/b/law", "law"].map(nameOf)).toEqual(["law", "law", "law"]);
  });
});
