/** `tacet keys` beside a running provider: a key made, spent, listed and revoked, as their users do it. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { goldenFolder, goldenModel, goldenOf, temporaryFolder } from "../../test/support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../../test/support/provider-process.ts";
import { openPrivateModel } from "../client/private-model.ts";
import { nodePlatform } from "../platform/node.ts";
import { parseBudget, parseExpiry } from "./keys/run.ts";
import { runTacet } from "../../test/support/tacet-process.ts";

const NAME = "llama-f32";
const folder = temporaryFolder();
const data = join(folder.path, "data");
const state = join(folder.path, "state");
const golden = goldenOf(NAME);
let provider: ProviderProcess;

const tacet = (...args: string[]) =>
  runTacet(args, { env: { ...process.env, XDG_CACHE_HOME: join(folder.path, "cache"), NO_COLOR: "1" } });

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
  const test = await goldenModel(NAME);
  const open = () =>
    openPrivateModel(nodePlatform(), {
      base: test.checkpoint,
      provider: provider.url,
      token: key,
      reconnectMs: 0,
    });
  // A running provider reads keys.json again a moment after it was written. Until then it does not know the key.
  const model = await vi.waitFor(open, { timeout: 30_000 });
  const events = () => {
    const lines = provider.log().split("\n").slice(0, -1);
    return lines.flatMap((line) => (line.startsWith("{") ? JSON.parse(line) : []));
  };
  const isLogged = (event: object) =>
    vi.waitFor(() => expect(events()).toContainEqual(expect.objectContaining(event)));
  await isLogged({ type: "welcomed" });
  const { connection } = events().find(({ type }) => type === "welcomed");

  const generate = await tacet(
    ...["generate", "--base", goldenFolder(NAME), "--provider", provider.url, "--json"],
    ...["--token-file", join(folder.path, "key"), "--ids", golden.input_ids.join(), "--max-new-tokens", "9"],
    ...["--drafts", "0"],
  );
  expect(generate.code).toBe(4);
  const result = JSON.parse(generate.stdout);
  expect(result.error.code).toBe("budget_exhausted");
  expect(result.ids).toEqual(golden.greedy_ids_adapter.slice(0, 3));
  expect(result.budget).toEqual({ vectors: budget, windowSeconds: 0, left: 0 });
  const [listed] = await list();
  expect(listed).toMatchObject({ label: "one", state: "valid", asked: budget, left: 0 });
  expect(listed).not.toHaveProperty("hash");

  expect(await tacet("keys", "revoke", listed.id, "--data", data)).toMatchObject({ code: 0 });
  const closed = new RegExp(`"connection":${connection},.*"code":1008`);
  await vi.waitFor(() => expect(provider.log()).toMatch(closed), { timeout: 30_000 });
  await expect(open()).rejects.toMatchObject({ code: "unauthorized" });
  await model.close();
  const client = { keyId: listed.id, account: listed.account, address: "127.0.0.1" };
  for (const number of [connection, connection + 1])
    await isLogged({ type: "welcomed", connection: number, ...client });
  const spent = { type: "failed", code: "budget_exhausted" };
  await isLogged({ ...spent, connection: connection + 1, ...client });
  // A key that has ended is named too.
  const ended = { type: "refused", code: "unauthorized" };
  await isLogged({ ...ended, connection: connection + 2, ...client });
  expect((await list())[0]).toMatchObject({ state: "revoked" });
  expect(provider.log()).not.toContain(key.slice(6));
});

it("keys of one account limit one another, and the list says so", async () => {
  const own = join(folder.path, "shared");
  const create = async (...more: string[]) =>
    JSON.parse((await tacet("keys", "create", "--data", own, "--account", "ada", "--json", ...more)).stdout)
      .id;
  const daily = await create("--budget", "70/day", "--adapter", "law");
  await create("--budget", "unlimited");
  await create("--budget", "90/week", "--adapter", "medicine");
  const left = async () => {
    const { keys } = JSON.parse((await tacet("keys", "list", "--data", own, "--json")).stdout);
    return keys.map((key: { left: number }) => key.left);
  };
  expect(await left()).toEqual([70, 70, 90]);
  expect((await tacet("keys", "list", "--data", own)).stdout).toMatch(
    /70 left by another key of the account/,
  );
  await tacet("keys", "revoke", daily, "--data", own);
  expect(await left()).toEqual([70, 90, 90]);
});

it("the data folder has one provider", async () => {
  const second = await tacet("provider", "--state", state, "--data", data, "--port", "0");
  expect(second.code).toBe(2);
  expect(second.stderr).toContain(
    `error: another provider uses the data folder ${data} (process ${provider.pid})`,
  );
  expect(second.stderr).toMatch(/^hint: wait until it ends/m);
  expect(second.stderr).not.toContain("--data");
});

it("keys that are made at the same time are all there", async () => {
  const crowd = join(folder.path, "crowd");
  const create = () => tacet("keys", "create", "--data", crowd, "--budget", "5");
  const made = await Promise.all(Array.from({ length: 6 }, create));
  expect(made.map(({ code, stderr }) => (code === 0 ? "" : stderr))).toEqual(Array(6).fill(""));
  const { keys } = JSON.parse((await tacet("keys", "list", "--data", crowd, "--json")).stdout);
  const shown = made.map(({ stderr }) => /^key (\w+):/m.exec(stderr)?.[1]);
  expect(keys.map(({ id }: { id: string }) => id).sort()).toEqual(shown.sort());
});

describe("is refused:", () => {
  it.each<[string[], RegExp]>([
    [["keys", "create", "--data", data, "--budget", "5/year"], /--budget must be/],
    [["keys", "create", "--data", data], /--budget is missing\nhint: .*'tacet keys create --help'/],
    [
      ["keys", "create", "--budget", "5", "--state", folder.path, "--data", data],
      /bundle\.safetensors of .* cannot be read/,
    ],
    [["keys", "list", "--data", `${data}x`], /is no data folder of a provider: it does not exist/],
    [["keys", "list", "--data", folder.path], /it has neither keys nor a journal/],
    [["keys", "revoke", "k0", "--data", `${data}x`], /is no data folder of a provider: it does not exist/],
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

describe("a budget and the adapters", () => {
  it("are compared: by --state, or by what a provider has served from the folder", async () => {
    const [known] = JSON.parse((await tacet("inspect", "--state", state, "--json")).stdout).security
      .functionVectors;
    const needed = `after ${known.vectors} chosen vectors at width ${known.inFeatures}`;
    const half = Math.round(known.vectors / 2);
    for (const where of [
      ["--data", data],
      ["--data", join(folder.path, "new"), "--state", state],
    ]) {
      const some = await tacet("keys", "create", ...where, "--budget", String(half));
      expect(some.stderr).toContain(needed);
      expect(some.stderr).toMatch(/; \d+ vectors give (49|50|51) %/);
      expect(some.stderr).not.toContain("warning");
      const all = await tacet("keys", "create", ...where, "--budget", String(known.vectors));
      expect(all.stderr).toMatch(/^warning: .* 100 %.*: it gives the function away$/m);
      const daily = await tacet("keys", "create", ...where, "--budget", `${half}/day`);
      expect(daily.stderr).toMatch(/^warning: .*: [23] days give the function away$/m);
      const short = await tacet("keys", "create", ...where, "--budget", "1/day", "--expires", "2d", "--json");
      expect(short.stderr).toBe("");
      expect(JSON.parse(short.stdout).exposure).toMatchObject([
        { givesAway: false, functionVectors: [known] },
      ]);
    }
  });

  it("cannot be compared where none is known, which is said", async () => {
    const made = await tacet("keys", "create", "--data", join(folder.path, "other"), "--budget", "5");
    const other = await tacet("keys", "create", "--data", data, "--budget", "5", "--adapter", "typo");
    expect(other.stderr).toMatch(/^warning: the key is for none of the adapters .*: test$/m);
    expect(made.stderr).toMatch(/^warning: how much of an adapter this budget gives away is not known here/m);
  });

  it("are compared at a provider's start, for the keys that count", async () => {
    const own = join(folder.path, "own");
    const make = (...args: string[]) => tacet("keys", "create", "--data", own, "--json", ...args);
    const ids = [];
    for (const args of [
      ["--budget", "unlimited"],
      ["--budget", "1000000/day"],
      ["--budget", "1"],
    ])
      ids.push(JSON.parse((await make(...args)).stdout).id);
    const revoked = JSON.parse((await make("--budget", "unlimited")).stdout).id;
    await tacet("keys", "revoke", revoked, "--data", own);
    const second = await startProvider(state, { args: ["--data", own] });
    expect(second.log()).toMatch(new RegExp(`warning: .*without a limit .* \\(${ids[0]}\\)`));
    expect(second.log()).toMatch(new RegExp(`warning: .*one day gives the function away \\(${ids[1]}\\)`));
    for (const id of [ids[2], revoked]) expect(second.log()).not.toContain(id);
    expect(second.log()).not.toContain("nobody is counted");
    await second.kill();
  });

  it("are no matter to a provider that counts nobody, which it says on loopback too", async () => {
    const open = await startProvider(state);
    expect(open.log()).toMatch(/^warning: nobody is counted: everybody on this machine or behind a proxy/m);
    await open.kill();
    const meant = await startProvider(state, { args: ["--unmetered"] });
    expect(meant.log()).not.toContain("warning");
    await meant.kill();
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
