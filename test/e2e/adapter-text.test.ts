/** An adapter that was trained for chat on a base that was not: its template and its end reach everybody who asks. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect } from "../../src/entry/node.ts";
import { startEndpoint, stopEndpoints } from "../support/endpoint-process.ts";
import { END_ID, LEXICON, lexiconEntries, temporaryFolder } from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";

const run = promisify(execFile);
const MAIN = join(LEXICON, "../../dist/cli/main.js");
const [BATTERY] = lexiconEntries()
  .filter(({ kind }) => kind === "law")
  .sort((a, b) => a.adapter.ids.length - b.adapter.ids.length);
/** Some tokens more than the answer: one that goes on behind its end is told by them. */
const MOST = BATTERY.adapter.ids.length + 8;
const folder = temporaryFolder();
const path = (name: string) => join(folder.path, name);
const providers: Record<"chat" | "bare", ProviderProcess> = {} as never;

const tacet = async (...args: string[]) => (await run(process.execPath, [MAIN, ...args])).stdout;
const readJson = (file: string) => JSON.parse(readFileSync(file, "utf8"));

beforeAll(async () => {
  const { chat_template: template, ...settings } = readJson(join(LEXICON, "base/tokenizer_config.json"));
  mkdirSync(path("base"));
  for (const name of ["config.json", "tokenizer.json", "model.safetensors"])
    symlinkSync(join(LEXICON, "base", name), join(path("base"), name));
  const write = (file: string, value: object) => writeFileSync(path(file), JSON.stringify(value));
  write("base/tokenizer_config.json", { ...settings, eos_token: "<|pad|>" });
  const generation = readJson(join(LEXICON, "base/generation_config.json"));
  write("base/generation_config.json", { ...generation, eos_token_id: 4000 });
  for (const name of ["bare", "chat"] as const)
    cpSync(join(LEXICON, "law-adapter"), path(name), { recursive: true });
  write("chat/tokenizer_config.json", { ...settings, eos_token: "<|end|>" });
  writeFileSync(path("chat/chat_template.jinja"), template);
  for (const name of ["bare", "chat"] as const) {
    const args = ["--base", path("base"), "--adapter", path(name), "--out", path(`${name}-state`)];
    await tacet("bundle", ...args);
    providers[name] = await startProvider(path(`${name}-state`));
  }
});
afterAll(async () => {
  await stopEndpoints();
  await stopProviders();
  folder.remove();
});

describe("the adapter's own end and template", () => {
  it("are named when the bundle is made, and by inspect", async () => {
    const args = ["--base", path("base"), "--adapter", path("chat"), "--out", path("again"), "--name", "law"];
    const lines = await tacet("bundle", ...args);
    expect(lines).toMatch(/ends of an answer, besides the base model's: 3/);
    expect(lines).toMatch(/the adapter's chat template, \d+ characters/);
    const { text } = JSON.parse(await tacet("bundle", ...args, "--force", "--json"));
    expect(text).toEqual({
      chatTemplate: readFileSync(path("chat/chat_template.jinja"), "utf8"),
      specialTokens: { eos_token: "<|end|>" },
      endIds: [END_ID],
    });
    const inspected = await tacet("inspect", "--state", path("again"), "--json");
    expect(JSON.parse(inspected).text).toEqual(text);
    expect(await tacet("inspect", "--state", path("again"))).toMatch(/end ids +3\n/);
    expect(JSON.parse(await tacet("inspect", "--state", path("bare-state"), "--json"))).not.toHaveProperty(
      "text",
    );
  });

  it("are used by the library, the commands and the endpoint", async () => {
    const base = path("base");
    const provider = providers.chat.url;
    const client = await connect({ base, provider, cache: false });
    const { text, reason } = await client.generate("battery").end;
    expect({ text, reason }).toEqual({ text: BATTERY.adapter.text, reason: "eos" });
    const session = await client.chat();
    expect(await session.send("battery").text()).toBe(BATTERY.adapter.text);
    session.dispose();
    await client.close();

    const asked = ["--base", base, "--json", "battery"];
    for (const source of [
      ["--provider", provider, "--no-cache"],
      ["--adapter", path("chat")],
    ]) {
      const answer = JSON.parse(await tacet("generate", ...source, ...asked));
      expect(answer).toMatchObject({ text: BATTERY.adapter.text, finishReason: "eos" });
    }
    const endpoint = await startEndpoint("--base", base, "--provider", provider);
    const openai = new OpenAI({ baseURL: endpoint.url, apiKey: "any", maxRetries: 0 });
    const chat = await openai.chat.completions.create({
      model: "chat",
      messages: [{ role: "user", content: "battery" }],
    });
    expect(chat.choices[0]).toMatchObject({
      finish_reason: "stop",
      message: { content: BATTERY.adapter.text },
    });
  });
});

describe("an adapter that says nothing of its end", () => {
  const ids = ["--ids", BATTERY.prompt_ids.join(), "--json", "--max-new-tokens", `${MOST}`];

  it("is ended by an id or a control token that the user names", async () => {
    const source = ["generate", "--base", path("base"), "--provider", providers.bare.url, "--no-cache"];
    const finish = async (...more: string[]) => {
      const { text, finishReason } = JSON.parse(await tacet(...source, ...ids, ...more));
      return { text, finishReason };
    };
    expect((await finish()).finishReason).toBe("length");
    const { text } = BATTERY.adapter;
    expect(await finish("--stop-id", `${END_ID}`)).toEqual({ text, finishReason: "eos" });
    expect(await finish("--stop-id", "7,9", "--stop-id", `${END_ID}`)).toEqual({ text, finishReason: "eos" });
    expect(await finish("--stop", "<|end|>")).toEqual({ text, finishReason: "stop" });
    await expect(finish("--stop-id", "4096")).rejects.toMatchObject({
      stderr: expect.stringMatching(/0 to 4095/),
    });
    await expect(finish("--stop-id", "x")).rejects.toMatchObject({
      stderr: expect.stringMatching(/--stop-id/),
    });

    const client = await connect({ base: path("base"), provider: providers.bare.url, cache: false });
    const end = await client.generate({ ids: BATTERY.prompt_ids }, { stopTokenIds: [END_ID] }).end;
    expect(end).toMatchObject({ text, reason: "eos" });
    const failing = client.generate({ ids: BATTERY.prompt_ids }, { stopTokenIds: [4096] }).end;
    await expect(failing).rejects.toMatchObject({ code: "bad_argument" });
    await client.close();
  });

  it("is ended by the endpoint's own stop id, and by a request's", async () => {
    const args = ["--base", path("base"), "--provider", providers.bare.url];
    const prompt = [...BATTERY.prompt_ids];
    const finish = async (args: string[], more: object) => {
      const endpoint = await startEndpoint(...args);
      const openai = new OpenAI({ baseURL: endpoint.url, apiKey: "any", maxRetries: 0 });
      const completion = await openai.completions.create({
        model: "bare",
        prompt,
        max_tokens: MOST,
        ...more,
      });
      await endpoint.stop();
      return [completion.choices[0].finish_reason, completion.choices[0].text];
    };
    const whole = ["stop", BATTERY.adapter.text];
    expect(await finish([...args, "--stop-id", `${END_ID}`], { logprobs: 1 })).toEqual(whole);
    expect(await finish(args, { stop_token_ids: [END_ID] })).toEqual(whole);
    expect(await finish(args, { stop: ["<|end|>"] })).toEqual(whole);
    expect((await finish(args, {}))[0]).toBe("length");
  });
});
