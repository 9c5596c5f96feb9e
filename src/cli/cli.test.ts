/** The built command line, run as its users run it: as a process, from another folder. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ERROR_KINDS, type ErrorCode } from "../base/errors.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MAIN = join(ROOT, "dist/cli/main.js");
const LAW = join(ROOT, "models/lexicon/law-adapter");
const EMBEDDED = join(ROOT, "models/lexicon/base");
const GOLDEN = join(ROOT, "test/fixtures/golden/llama-f32");
const EXPECTED = (
  JSON.parse(readFileSync(join(ROOT, "models/lexicon/expected.json"), "utf8")) as {
    entries: {
      word: string;
      prompt_ids: number[];
      base: { ids: number[] };
      adapter: { ids: number[]; text: string };
    }[];
  }
).entries.find(({ word }) => word === "battery")!;
const TOKEN = "a-token-for-the-test";

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

let home: string;
let state: string;
const children: ChildProcess[] = [];

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: home,
    env: {
      PATH: process.env.PATH ?? "",
      HOME: home,
      TMPDIR: join(home, "tmp"),
      XDG_CACHE_HOME: join(home, "cache"),
      ...env,
    },
    stdio: ["pipe", "pipe", "pipe"],
  });
  children.push(child);
  return child;
}

function finish(child: ChildProcess, input = ""): Promise<Result> {
  return new Promise((resolve) => {
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (data) => {
      stdout += data;
    });
    child.stderr?.on("data", (data) => {
      stderr += data;
    });
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

const tacet = (...args: string[]): Promise<Result> => finish(start(args));

async function tacetJson(...args: string[]) {
  const { code, stdout, stderr } = await tacet(...args, "--json");
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

interface RunningProvider {
  readonly child: ChildProcess;
  readonly url: string;
  readonly result: Promise<Result>;
}

async function startProvider(...args: string[]): Promise<RunningProvider> {
  const child = start(["provider", "--port", "0", ...args]);
  const result = finish(child);
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout?.on("data", (data) => {
      const line = /^listening on (\S+)$/m.exec(String(data));
      if (line !== null) resolve(line[1]);
    });
    void result.then(({ stderr }) => reject(new Error(stderr)));
  });
  return { child, url, result };
}

let provider: RunningProvider;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "tacet-cli-"));
  mkdirSync(join(home, "tmp"));
  state = join(home, "state");
  await tacetJson("bundle", "--adapter", LAW, "--out", state, "--name", "law");
  provider = await startProvider("--state", state);
});

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(home, { recursive: true, force: true });
});

describe("bundle", () => {
  it("writes a public and a private file and says what a token and a key cost", async () => {
    const out = join(home, "printed");
    const { code, stdout, stderr } = await tacet("bundle", "--adapter", LAW, "--out", out);
    expect(code).toBe(0);
    // True of this adapter: its A was drawn as randn/√256 and hardly moved (models/lexicon/training/model.py).
    expect(stderr).toMatch(
      /^warning: A looks like its initialisation, Gaussian of deviation 1\/r: [^\n]*\n$/,
    );
    expect(stdout).toMatch(/^adapter +law-adapter$/m);
    expect(stdout).toMatch(/^digest +[0-9a-f]{64}$/m);
    expect(stdout).toMatch(/^a token +[\d,]+ bytes up, [\d,]+ down$/m);
    expect(stdout).toMatch(/^a key +[\d.]+ MB down, for 240 tokens$/m);
    expect(stdout).toMatch(/^The embedded example may be so: it is published/);
    expect(stdout).toMatch(/chosen vectors/);
    for (const line of stdout.split("\n"))
      if (!line.includes(home)) expect(line.length).toBeLessThanOrEqual(80);
    expect(readdirSync(out).sort()).toEqual(["bundle.safetensors", "private.safetensors"]);
    expect(statSync(join(out, "private.safetensors")).mode & 0o777).toBe(0o600);
    expect(statSync(join(out, "bundle.safetensors")).mode & 0o777).toBe(0o644);
  });

  it("replaces nothing unless it is told to", async () => {
    const before = readFileSync(join(home, "printed", "bundle.safetensors"));
    const args = ["bundle", "--adapter", LAW, "--out", join(home, "printed")];
    const refused = await tacet(...args);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/^error: .* exists\nhint: .*--force\n$/);
    expect(readFileSync(join(home, "printed", "bundle.safetensors")).equals(before)).toBe(true);
    expect((await tacetJson(...args, "--force")).groups).toBe(24);
    expect(readFileSync(join(home, "printed", "bundle.safetensors")).equals(before)).toBe(false);
  });

  it("leaves nothing behind where it cannot write", async () => {
    const blocked = join(home, "blocked");
    writeFileSync(blocked, "a file");
    const { code, stderr } = await tacet("bundle", "--adapter", LAW, "--out", blocked);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^error: .* cannot be written: a part of the path is not a folder\n$/);
  });

  it("refuses an adapter of another base model", async () => {
    const { code, stderr } = await tacet(
      "bundle",
      "--adapter",
      LAW,
      "--base",
      GOLDEN,
      "--out",
      join(home, "no"),
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^error: tensor ".*lora_A.weight" of the adapter .*\nhint: the adapter was made for another base model: .*\n$/,
    );
  });
});

describe("generate", () => {
  it("answers alone, with a plaintext adapter, and privately", async () => {
    const base = await tacetJson("generate", "battery");
    expect(base).toMatchObject({
      source: "base",
      ids: EXPECTED.base.ids,
      promptIds: EXPECTED.prompt_ids,
      bytesUp: 0,
    });
    const plain = await tacetJson("generate", "battery", "--adapter", LAW);
    expect(plain).toMatchObject({
      source: "plaintext-adapter",
      ids: EXPECTED.adapter.ids,
      finishReason: "eos",
    });
    // Exact counts: on a machine that is very busy drafts may be worth while on loopback too.
    const hidden = await tacetJson("generate", "battery", "--provider", provider.url, "--drafts", "0");
    const tokens = EXPECTED.prompt_ids.length + EXPECTED.adapter.ids.length - 1;
    expect(hidden).toMatchObject({
      source: "provider",
      ids: EXPECTED.adapter.ids,
      text: EXPECTED.adapter.text,
      finishReason: "eos",
      adapter: "law",
      // Once 8 of each of 11 groups, so that they can be asked ahead (src/model/run/look-ahead.ts).
      vectors: 24 * tokens + 11 * 8,
      roundTrips: 24 * EXPECTED.adapter.ids.length + 11,
    });
    expect(hidden.bytesUp).toBeGreaterThan(100_000 * tokens);
    expect(hidden.keys.number).toBe(1);
    expect(hidden.keys.bytes).toBeGreaterThan(1_000_000);
    expect(hidden.timings.perToken.encryptionMs).toBeGreaterThan(0);
    // A prompt of five tokens is not worth a thread.
    expect(hidden.encryption.threads).toBe(0);
  });

  it("prints text, from stdin or words, also with the bundle from the cache", async () => {
    expect(readdirSync(join(home, "cache", "tacet", "bundles"))).toHaveLength(1);
    const piped = await finish(start(["generate", "--provider", provider.url]), "battery\n");
    expect(piped).toEqual({ code: 0, stdout: `${EXPECTED.adapter.text}\n`, stderr: "" });
  });

  it("takes ids, and gives ids where the model has no tokenizer", async () => {
    const { code, stdout } = await tacet(
      "generate",
      "--base",
      GOLDEN,
      "--ids",
      "1,2",
      "--max-new-tokens",
      "3",
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+,\d+,\d+\n$/);
    const text = await tacet("generate", "--base", GOLDEN, "hello");
    expect(text.code).toBe(2);
    expect(text.stderr).toMatch(/hint: give token ids with --ids/);
  });

  it("says that a prompt is longer than the checkpoint's max_length", async () => {
    const dir = join(home, "short");
    mkdirSync(dir);
    const base = join(ROOT, "models/lexicon/base");
    for (const name of readdirSync(base)) writeFileSync(join(dir, name), readFileSync(join(base, name)));
    writeFileSync(join(dir, "generation_config.json"), JSON.stringify({ eos_token_id: 3, max_length: 2 }));
    const { code, stderr } = await tacet("generate", "battery", "--base", dir);
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(
        /^error: the prompt has \d+ tokens, .* at 2 \(max_length\)\nhint: --max-new-tokens/,
      ),
    ]);
    const longer = await tacetJson("generate", "battery", "--base", dir, "--max-new-tokens", "4");
    expect(longer.ids).toEqual(EXPECTED.base.ids.slice(0, 4));
  });

  it("draws the same tokens for the same seed", async () => {
    const args = ["generate", "battery", "--temperature", "1.5", "--seed", "7", "--max-new-tokens", "12"];
    expect((await tacetJson(...args)).ids).toEqual((await tacetJson(...args)).ids);
  });

  it("ends before a stop string, wherever it lies in the tokens", async () => {
    const { text } = await tacetJson("generate", "battery");
    for (const stop of [text.slice(5, 8), text.slice(9, 20)]) {
      const cut = text.slice(0, text.indexOf(stop));
      expect(await tacetJson("generate", "battery", "--stop", "never", "--stop", stop)).toMatchObject({
        text: cut,
        finishReason: "stop",
      });
      expect((await tacet("generate", "battery", "--stop", stop)).stdout).toBe(`${cut}\n`);
    }
  });

  it("draws as it is told to, also with a negative penalty", async () => {
    const { ids } = await tacetJson("generate", "battery");
    const same = ["--temperature", "0.5", "--min-p", "1", "--presence-penalty", "0", "--top-p", "1"];
    expect((await tacetJson("generate", "battery", ...same)).ids).toEqual(ids);
    const other = ["--repetition-penalty", "5", "--frequency-penalty", "-1.5", "--presence-penalty", "-2"];
    expect((await tacetJson("generate", "battery", ...other)).ids).not.toEqual(ids);
  });

  it("says how an answer could have been gone on with, and claims to keep nothing that it does not", async () => {
    const proxy = await cuttingProxy(provider.url, 1_500_000);
    const lost = await tacet("generate", "battery", "--provider", proxy.url, "--reconnect-seconds", "0");
    proxy.server.close();
    expect(lost.code).toBe(5);
    expect(EXPECTED.adapter.text.startsWith(lost.stdout.trim())).toBe(true);
    expect(lost.stdout.trim()).not.toBe("");
    expect(lost.stderr).toMatch(
      /\nhint: .*provider is back.*use --json, whose output --resume FILE takes\n$/,
    );
    expect(lost.stderr).not.toMatch(/is kept/);
  });

  it("keeps what it has when the provider is lost, and goes on from there", async () => {
    const proxy = await cuttingProxy(provider.url, 1_500_000);
    const lost = await tacet(
      "generate",
      "battery",
      "--provider",
      proxy.url,
      "--reconnect-seconds",
      "0",
      "--json",
    );
    proxy.server.close();
    expect(lost.code).toBe(5);
    expect(lost.stderr).toMatch(
      /^warning: the connection to the provider was lost.*\nerror: .*\nhint: .*\n$/,
    );
    const partial = JSON.parse(lost.stdout);
    expect(partial.finishReason).toBe("error");
    expect(partial.error).toMatchObject({
      code: "connection_lost",
      hint: expect.stringMatching(/provider is back.*'tacet generate --resume FILE'$/),
    });
    expect(lost.stderr).toContain(`hint: ${partial.error.hint}\n`);
    expect(partial.ids.length).toBeGreaterThan(0);
    expect(partial.ids.length).toBeLessThan(EXPECTED.adapter.ids.length);
    expect(EXPECTED.adapter.ids.slice(0, partial.ids.length)).toEqual(partial.ids);

    const file = join(home, "partial.json");
    writeFileSync(file, lost.stdout);
    const rest = await tacetJson("generate", "--resume", file, "--provider", provider.url);
    expect(rest).toMatchObject({
      ids: EXPECTED.adapter.ids,
      promptIds: EXPECTED.prompt_ids,
      finishReason: "eos",
    });
    writeFileSync(file, JSON.stringify(rest));
    const nothingLeft = await tacet("generate", "--resume", file);
    expect(nothingLeft).toEqual({ code: 0, stdout: `${EXPECTED.adapter.text}\n`, stderr: "" });
  });
});

describe("logits", () => {
  it("prints the largest, or all as JSON", async () => {
    const { stdout } = await tacet("logits", "battery", "--top", "3");
    const ids = stdout
      .trim()
      .split("\n")
      .map((line) => Number(line.trim().split(/\s+/)[0]));
    expect(ids).toHaveLength(3);
    expect(ids[0]).toBe(EXPECTED.base.ids[0]);
    const { logits } = await tacetJson(
      "logits",
      "--ids",
      EXPECTED.prompt_ids.join(),
      "--provider",
      provider.url,
    );
    expect(logits).toHaveLength(4096);
    expect(logits.indexOf(Math.max(...logits))).toBe(EXPECTED.adapter.ids[0]);
  });

  it("compares private with plaintext", async () => {
    const args = ["logits", "battery", "--provider", provider.url, "--adapter", LAW, "--compare"];
    const { max, rms, smallestGap, positions } = await tacetJson(...args);
    expect(positions).toBe(EXPECTED.prompt_ids.length);
    expect(max).toBeGreaterThan(0);
    expect(max).toBeLessThan(0.1);
    expect(rms).toBeLessThan(max);
    expect(smallestGap).toBeGreaterThan(0);
  });
});

describe("inspect", () => {
  it.each([
    ["base model", ["--base", join(ROOT, "models/lexicon/base")], { parameters: 5_475_584 }],
    ["adapter", ["--adapter", LAW], { parameters: 224_256 }],
    ["bundle", ["--bundle", "state/bundle.safetensors"], { adapter: "law", cost: { vectorsPerKey: 240 } }],
    ["state folder", ["--state", "state"], { adapter: "law", servable: true }],
  ])("knows a %s", async (kind, args, facts) => {
    expect(await tacetJson("inspect", ...args)).toMatchObject({ kind, ...facts });
    const { stdout } = await tacet("inspect", ...args);
    expect(stdout).not.toContain("[object");
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it("says how near one base model comes to another", async () => {
    const base = join(ROOT, "models/lexicon/base");
    writeFileSync(join(home, "text"), "a written agreement between two parties ".repeat(20));
    const args = ["inspect", "--base", base, "--against", base, "--text", "text", "--tokens", "100"];
    const same = await tacetJson(...args);
    expect(same).toMatchObject({
      kind: "comparison of base models",
      relation: "the same checkpoint",
      tokens: 100,
      positions: 99,
      sameLikeliest: 99,
      relativeRms: 0,
      klNats: 0,
    });
    const near = await tacetJson(...args, "--against-weights", "int8");
    const far = await tacetJson(...args, "--against-weights", "int4");
    expect(near.against).toMatchObject({ weights: "int8", storedAs: "BF16", fileBytes: same.base.fileBytes });
    expect(near.perplexity.base).toBeCloseTo(same.perplexity.against, 6);
    expect(near.relativeRms).toBeGreaterThan(0);
    expect(near.relativeRms).toBeLessThan(far.relativeRms);
    expect(near.klNats).toBeLessThan(far.klNats);
    const { stdout } = await tacet(...args);
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it("knows a running provider", async () => {
    const facts = await tacetJson("inspect", "--provider", provider.url);
    expect(facts).toMatchObject({ kind: "provider", adapter: "law", limits: { maxVectors: 240 } });
    expect(facts.security.query.standard).toBeGreaterThan(128);
  });
});

describe("provider", () => {
  it("logs events without data and stops when it is told to", async () => {
    const tokens = join(home, "tokens");
    writeFileSync(tokens, `other\n${TOKEN}\n`);
    chmodSync(tokens, 0o600);
    const served = await startProvider("--state", state, "--token-file", tokens, "--unmetered");
    const refused = await tacet("generate", "battery", "--provider", served.url);
    expect(refused.code).toBe(4);
    expect(refused.stderr).toMatch(
      /^error: the provider asks for a key, and none was given\nhint: export TACET_TOKEN=/,
    );
    const wrong = ["generate", "battery", "--provider", served.url, "--json"];
    const failed = await finish(start(wrong, { TACET_TOKEN: "wrong" }));
    expect(failed.code).toBe(4);
    expect(failed.stderr).toMatch(/^error: the provider does not accept this token\n/);
    expect(JSON.parse(failed.stdout)).toEqual({
      error: {
        code: "unauthorized",
        message: "the provider does not accept this token",
        hint: expect.stringContaining("TACET_TOKEN"),
      },
    });
    const env = { TACET_TOKEN: TOKEN };
    const allowed = await finish(start(["generate", "battery", "--provider", served.url], env));
    expect(allowed).toEqual({ code: 0, stdout: `${EXPECTED.adapter.text}\n`, stderr: "" });
    served.child.kill("SIGTERM");
    const { code, stderr } = await served.result;
    expect(code).toBe(0);
    const events = stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { type: string });
    expect(events.slice(0, 2).map(({ type }) => type)).toEqual(["settings", "listening"]);
    expect(events.at(-1)?.type).toBe("stopped");
    expect(events.map(({ type }) => type)).toContain("refused");
    expect(stderr).not.toContain(TOKEN);
    expect(stderr).not.toContain("battery");
  });

  it("says that a port is taken", async () => {
    const { code, stderr } = await tacet("provider", "--state", state, "--port", new URL(provider.url).port);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^error: .*EADDRINUSE.*\nhint: .*--port\n$/);
  });
});

describe("demo", () => {
  it("shows the whole thing and cleans up", async () => {
    const { code, stdout, stderr } = await tacet("demo", "--word", "battery");
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/\(law\) the unlawful beating of/);
    expect(stdout).toContain("1 of 1 private answers equal the plaintext adapter's, token for token");
    expect(stdout).toContain("1 of 1 answers equal expected.json");
    expect(stdout).toMatch(/first query +([0-9a-f]{4} ){10}/);
    expect(stdout).toContain("as uniform bytes");
    expect(stdout).toMatch(/your words +2\^\d{3}/);
    expect(stdout).toMatch(/bytes +[\d,]+ up, [\d,]+ down, 24\.0 queries/);
    expect(stdout).not.toContain("\u001b");
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    expect(readdirSync(join(home, "tmp"))).toEqual([]);
  });

  it("cleans up after Ctrl-C", async () => {
    const child = start(["demo"]);
    const result = finish(child);
    child.stdout?.once("data", () => child.kill("SIGINT"));
    expect(await result).toMatchObject({ code: 130, stderr: "" });
    expect(readdirSync(join(home, "tmp"))).toEqual([]);
  });
});

describe("ONNX Runtime", () => {
  it("writes no telemetry", async () => {
    expect((await tacet("generate", "battery", "--max-new-tokens", "1")).code).toBe(0);
    expect(readdirSync(join(home, "tmp"))).toEqual([]);
    expect(readdirSync(home)).not.toContain(".cache");
    expect(readdirSync(join(home, "cache"))).toEqual(["tacet"]);
  });
});

describe("mistakes", () => {
  it.each([
    [2, ["generate", "--frob"], /^error: unknown option '--frob'\nhint: see 'tacet generate --help'\n$/],
    [2, ["generat"], /^error: unknown command 'generat'\nhint: did you mean generate\?/],
    [3, ["generate", "x", "--base", "nowhere"], /^error: nowhere: no such folder\nhint: /],
    [2, ["generate", "x", "--provider", "ws://a", "--adapter", "b"], /^error: .* exclude each other\nhint: /],
    [2, ["generate", "--ids", "1,secret"], /^error: --ids must be token ids\nhint: /],
    [2, ["generate", "--ids", "4096"], /^error: a token id is outside the model's vocabulary of 4096\n$/],
    [2, ["generate"], /^error: there is no prompt\nhint: /],
    [
      2,
      ["generate", "x", "--top-p", "0"],
      /^error: --top-p must be a decimal number above 0 and at most 1\n$/,
    ],
    [2, ["generate", "x", "--min-p", "1.1"], /^error: --min-p must be a decimal number from 0 to 1\n$/],
    [
      2,
      ["generate", "x", "--presence-penalty", "-3"],
      /^error: --presence-penalty must be .* from -2 to 2\n$/,
    ],
    [2, ["generate", "x", "--repetition-penalty", "0"], /^error: --repetition-penalty must be .* above 0/],
    [2, ["generate", "x", "--temperature", "warm"], /^error: --temperature must be a decimal number from 0/],
    [2, ["generate", "x", "--stop", ""], /^error: --stop must not be empty\n$/],
    [2, ["generate", "--base", GOLDEN, "--ids", "1", "--stop", "x"], /^error: --stop is about text/],
    [2, ["generate", "x", "--system", "y"], /^error: the model's chat template refuses the messages/],
    [
      2,
      ["generate", "x", "--template-arg", "enable_thinking=off"],
      /^error: --template-arg must be a name, "=" and a JSON value\nhint: as in --template-arg enable_thinking=false/,
    ],
    [
      2,
      ["generate", "x", "--template-arg", "enable_thinking=false"],
      /^error: the model's chat template does not read the variable "enable_thinking"\nhint: /,
    ],
    [2, ["generate", "x", "--raw", "--template-arg", "a=1"], /^error: .* exclude --template-arg\n$/],
    [5, ["generate", "x", "--provider", "ws://127.0.0.1:1"], /^error: .*ECONNREFUSED.*\nhint: /],
    [2, ["generate", "x", "--provider", "http://127.0.0.1:1"], /^error: .*is not a provider's URL\nhint: /],
    [2, ["generate", "x", "--token-file", "t"], /^error: --token-file needs --provider\n$/],
    [2, ["web", "--provider-key", "0a".repeat(32)], /^error: --provider-key needs --provider\nhint: /],
    [2, ["web", "--bundle-digest", "0a".repeat(32)], /^error: --bundle-digest needs --provider\nhint: /],
    [2, ["web", "--provider-key", "0a"], /^error: --provider-key must be /],
    [2, ["keys", "create", "--frob"], /\nhint: see 'tacet keys create --help'\n$/],
    [2, ["keys", "frob"], /\nhint: see 'tacet keys --help'\n$/],
    [2, ["bundle", "--adapter", LAW], /^error: required option '--out <dir>' not specified\nhint: /],
    [2, ["logits", "x", "--compare"], /^error: --compare needs both/],
    [2, ["inspect"], /^error: inspect takes one thing at a time\nhint: /],
    [2, ["inspect", "--base", GOLDEN, "--text", "t"], /^error: --text needs --base and --against\n$/],
    [2, ["inspect", "--bundle", "b", "--against", "b"], /^error: --against needs --base alone\n$/],
    [
      2,
      ["inspect", "--base", EMBEDDED, "--against", GOLDEN],
      /^error: the two have vocabularies of \d+ and \d+ /,
    ],
    [3, ["provider", "--state", "nowhere"], /^error: nowhere: no such folder\nhint: /],
    [2, ["provider", "--state", "."], /^error: \. has no bundle\.safetensors\nhint: /],
  ])("exit %i for %j", async (code, args, stderr) => {
    expect(await tacet(...args)).toEqual({ code, stdout: "", stderr: expect.stringMatching(stderr) });
  });

  it("are JSON on stdout too where JSON was asked for, in every command", async () => {
    const commands = [
      ["generate", "x", "--base", "nowhere"],
      ["logits", "x", "--base", "nowhere"],
      ["inspect", "--state", "nowhere"],
      ["bundle", "--adapter", "nowhere", "--out", "out"],
      ["keys", "list", "--data", "nowhere"],
      ["keys", "create", "--data", "data"],
    ];
    for (const args of commands) {
      const { code, stdout, stderr } = await tacet(...args, "--json");
      const { error } = JSON.parse(stdout);
      expect(stderr.split("\n")[0]).toBe(`error: ${error.message}`);
      expect(code).toBe(ERROR_KINDS[error.code as ErrorCode].exit);
    }
  });

  it("a base model that the adapter was not made for", async () => {
    const args = ["generate", "--base", GOLDEN, "--ids", "1,2", "--provider", provider.url];
    expect(await tacet(...args)).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/made for another base/),
    });
  });

  it("a reader that has gone is none", async () => {
    const child = start(["inspect", "--adapter", LAW]);
    child.stdout?.destroy();
    expect(await finish(child)).toMatchObject({ code: 0, stderr: "" });
  });
});

describe("help", () => {
  it.each(["", "demo", "bundle", "provider", "generate", "chat", "serve", "logits", "inspect"])(
    "%s fits 80 columns",
    async (name) => {
      const { code, stdout, stderr } = await tacet(...(name === "" ? [] : [name]), "--help");
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(/^Usage: tacet/);
      expect(stdout).toMatch(/^Examples?:$/m);
      for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    },
  );

  it("prints the version", async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    expect(await tacet("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });
});

/** Passes bytes on until `bytes` have gone to the provider, then cuts every connection and takes no new ones. */
async function cuttingProxy(url: string, bytes: number): Promise<{ server: Server; url: string }> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let left = bytes;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    upstream.pipe(client);
    client.on("data", (data) => {
      left -= data.length;
      if (left > 0) upstream.write(data);
      else {
        server.close();
        for (const socket of sockets) socket.destroy();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `ws://127.0.0.1:${(server.address() as { port: number }).port}` };
}

describe("--weights", () => {
  it("makes rounded weights once, and says so when they had to be made again", async () => {
    const folder = join(home, "weights");
    const options = ["--weights", "int4", "--weights-cache", folder, "--max-new-tokens", "3"];
    const first = await tacetJson("generate", "battery", ...options);
    const [name] = readdirSync(folder);
    expect(name).toMatch(/^[0-9a-f]{64}-int4-v2\.safetensors$/);
    const bytes = readFileSync(join(folder, name));
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(join(folder, name), bytes);
    const { code, stdout, stderr } = await tacet("generate", "battery", ...options, "--json");
    expect(code).toBe(0);
    expect(stderr).toMatch(/^warning: the quantized weights in .* were damaged and are made again$/m);
    expect(JSON.parse(stdout).ids).toEqual(first.ids);
  });

  it("is one of three kinds", async () => {
    const { code, stderr } = await tacet("generate", "battery", "--weights", "int3");
    expect(code).toBe(2);
    expect(stderr).toMatch(/Allowed choices are original, int8, int4/);
  });
});
