/** `tacet keys` beside a running provider: a key made, spent, listed and revoked, as their users do it. */
import { spawn } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goldenFolder, goldenModel, goldenOf, temporaryFolder } from "../../test/support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../../test/support/provider-process.ts";
import { openPrivateModel } from "../client/client.ts";
import { nodePlatform } from "../platform/node.ts";
import { parseBudget, parseExpiry } from "./keys/run.ts";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const NAME = "llama-f32";
const folder = temporaryFolder();
const data = join(folder.path, "data");
const state = join(folder.path, "state");
const golden = goldenOf(NAME);
let provider: ProviderProcess;

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function tacet(...args: string[]): Promise<Result> {
  const env = { ...process.env, XDG_CACHE_HOME: join(folder.path, "cache"), NO_COLOR: "1" };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, stdout, stderr })));
}

const list = async () => JSON.parse((await tacet("keys", "list", "--data", data, "--json")).stdout).keys;

beforeAll(async () => {
  const test = await goldenModel(NAME);
  await test.writeState(state);
  provider = await startProvider(state, { args: ["--data", data] });
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

it("a key made beside a running provider serves to the end of its budget, and not after it is revoked", async () => {
  const budget = golden.input_ids.length + 2;
  const made = await tacet("keys", "create", "--data", data, "--budget", String(budget), "--label", "one");
  expect(made).toMatchObject({ code: 0 });
  const key = made.stdout.trim();
  expect(key).toMatch(/^tacet_[0-9a-f]{64}$/);
  expect(made.stderr).not.toContain(key.slice(6));
  expect(readFileSync(join(data, "keys.json"), "utf8")).not.toContain(key.slice(6));
  expect(statSync(join(data, "keys.json")).mode & 0o777).toBe(0o600);
  writeFileSync(join(folder.path, "key"), `${key}\n`);
  await new Promise((resolve) => setTimeout(resolve, 1000));

  const generate = await tacet(
    ...["generate", "--base", goldenFolder(NAME), "--provider", provider.url, "--json"],
    ...["--token-file", join(folder.path, "key"), "--ids", golden.input_ids.join(), "--max-new-tokens", "9"],
  );
  expect(generate.code).toBe(4);
  const result = JSON.parse(generate.stdout);
  expect(result.error.code).toBe("budget_exhausted");
  expect(result.ids).toEqual(golden.greedy_ids_adapter.slice(0, 3));
  expect(result.budget).toEqual({ vectors: budget, windowSeconds: 0, left: 0 });
  const [listed] = await list();
  expect(listed).toMatchObject({ label: "one", state: "valid", asked: budget, left: 0 });
  expect(listed).not.toHaveProperty("hash");

  const test = await goldenModel(NAME);
  const open = () =>
    openPrivateModel(nodePlatform(), {
      base: test.checkpoint,
      provider: provider.url,
      token: key,
      reconnectMs: 0,
    });
  const model = await open();
  expect(await tacet("keys", "revoke", listed.id, "--data", data)).toMatchObject({ code: 0 });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await expect(open()).rejects.toMatchObject({ code: "unauthorized" });
  await model.close();
  expect(provider.log()).toMatch(/"connection":2.*"code":1008/);
  expect((await list())[0]).toMatchObject({ state: "revoked" });
  expect(provider.log()).not.toContain(key.slice(6));
});

it("the data folder has one provider", async () => {
  const second = await tacet("provider", "--state", state, "--data", data, "--port", "0");
  expect(second.code).toBe(2);
  expect(second.stderr).toMatch(/^error: another provider \(process \d+\) uses this data folder/);
});

describe("is refused:", () => {
  it.each<[string[], RegExp]>([
    [["keys", "create", "--data", data, "--budget", "5/year"], /--budget must be/],
    [["keys", "create", "--data", data], /--budget/],
    [["keys", "create", "--data", data, "--budget", "5", "--expires", "yesterday"], /--expires must be/],
    [["keys", "revoke", "k0", "--data", data], /there is no key "k0"/],
    [["provider", "--state", state, "--host", "0.0.0.0"], /needs --data, or --unmetered/],
    [["provider", "--state", state, "--data", data, "--unmetered"], /exclude each other/],
    [["provider", "--state", state, "--durability", "power"], /needs --data/],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await tacet(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(message);
  });
});

it("reads budgets and times", () => {
  expect(parseBudget("5000")).toEqual({ vectors: 5000, windowSeconds: 0 });
  expect(parseBudget("7/hour")).toEqual({ vectors: 7, windowSeconds: 3600 });
  expect(parseBudget("unlimited")).toBeNull();
  for (const text of ["", "-1", "1.5", "5/", "5/Day", "1e3"]) expect(() => parseBudget(text)).toThrow();
  expect(parseExpiry("2d", 1000)).toBe(172_801_000);
  expect(parseExpiry("2027-01-31", 0)).toBe(Date.UTC(2027, 0, 31));
  for (const text of ["", "d", "0h", "soon", "1969-01-01"]) expect(() => parseExpiry(text, 1000)).toThrow();
});
