/** The official openai client and the Vercel AI SDK, unmodified, through `tacet serve` and a provider. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { type EndpointProcess, startEndpoint, stopEndpoints } from "../support/endpoint-process.ts";
import {
  greedyIds,
  LEXICON,
  lexicon,
  lexiconEntries,
  narrowestGap,
  temporaryFolder,
  testModel,
} from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";

const MAIN = join(LEXICON, "../../dist/cli/main.js");
const BASE = join(LEXICON, "base");
/** The shortest answers. */
const WORDS = lexiconEntries()
  .filter(({ kind }) => kind === "law")
  .sort((a, b) => a.adapter.ids.length - b.adapter.ids.length)
  .slice(0, 6);
const BATTERY = WORDS[0];
/**
 * Between the two largest logits, at each token of an answer that must be the same each time: by LogitPrediction nine
 * standard deviations of the error and more, with the adapters that are used here.
 */
const CLEAR_GAP = 0.3;
const KEY = "local-key";

const folder = temporaryFolder();
const state = join(folder.path, "state");
let provider: ProviderProcess;
let endpoint: EndpointProcess;
let openai: OpenAI;

beforeAll(async () => {
  await (await lexicon()).writeState(state, { name: "law" });
  provider = await startProvider(state);
  writeFileSync(join(folder.path, "keys"), `another\n${KEY}\n`);
  endpoint = await startEndpoint(
    ...["--base", BASE, "--provider", provider.url, "--serve-base", "--reconnect-seconds", "0"],
    ...["--api-key-file", join(folder.path, "keys")],
  );
  openai = new OpenAI({ baseURL: endpoint.url, apiKey: KEY, maxRetries: 0 });
});
afterAll(async () => {
  await stopEndpoints();
  await stopProviders();
  folder.remove();
});

const messages = (word: string) => [{ role: "user" as const, content: word }];

async function streamed(word: string): Promise<string> {
  const stream = await openai.chat.completions.create({
    model: "law",
    messages: messages(word),
    stream: true,
  });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  return text;
}

describe("the openai client", () => {
  it("lists models, chats and completes", async () => {
    const models = [];
    for await (const { id } of openai.models.list()) models.push(id);
    expect(models).toEqual(["law", "base"]);
    const chat = await openai.chat.completions.create({ model: "law", messages: messages("battery") });
    expect(chat.choices[0].message.content).toBe(BATTERY.adapter.text);
    expect(chat.usage).toMatchObject({ completion_tokens: BATTERY.adapter.ids.length });
    const completion = await openai.completions.create({
      model: "law",
      prompt: [...BATTERY.prompt_ids],
      max_tokens: 96,
      temperature: 0,
    });
    expect(completion.choices[0]).toMatchObject({ text: BATTERY.adapter.text, finish_reason: "stop" });
    const alone = await openai.chat.completions.create({ model: "base", messages: messages("battery") });
    expect(alone.choices[0].message.content).not.toContain("(law)");
  });

  it("is answered six times at once, streams and not, each as if it were alone", async () => {
    const texts = await Promise.all(
      WORDS.map(async ({ word }, i) => {
        if (i % 2 === 0) return await streamed(word);
        const chat = await openai.chat.completions.create({ model: "law", messages: messages(word) });
        return chat.choices[0].message.content;
      }),
    );
    expect(texts).toEqual(WORDS.map(({ adapter }) => adapter.text));
  });

  it("streams with its helper, counts and log-probabilities", async () => {
    const stream = openai.chat.completions.stream({
      model: "law",
      messages: messages("battery"),
      stream_options: { include_usage: true },
      logprobs: true,
    });
    const final = await stream.finalChatCompletion();
    expect(final.choices[0].message.content).toBe(BATTERY.adapter.text);
    expect(final.usage?.total_tokens).toBe(BATTERY.prompt_ids.length + BATTERY.adapter.ids.length);
    const tokens = final.choices[0].logprobs?.content?.map(({ token }) => token).join("");
    expect(tokens).toBe(BATTERY.adapter.text);
  });

  it("breaks off in mid-stream, and the next one is answered", async () => {
    const stream = await openai.chat.completions.create({
      model: "law",
      messages: messages("battery"),
      stream: true,
      temperature: 2,
      // An answer of some ninety tokens.
      seed: 8,
      max_tokens: 100_000,
    });
    let chunks = 0;
    // Leaving the loop closes the connection. To abort inside it and read on would wait for ever where the end of the
    // answer has come by then: Node's fetch (20.20) never settles a read that is aborted behind the end.
    for await (const _ of stream) if (++chunks === 4) break;
    expect(chunks).toBe(4);
    expect(await streamed("battery")).toBe(BATTERY.adapter.text);
    await expect.poll(() => endpoint.output()).toContain('"broken_off"');
  });

  it("is told what is wrong in its own errors", async () => {
    const ask = (more: object, client = openai) =>
      client.chat.completions.create({ model: "law", messages: messages("battery"), ...more });
    await expect(ask({ n: 2 })).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(ask({ messages: messages("x ".repeat(9000)) })).rejects.toMatchObject({
      status: 400,
      code: "context_length_exceeded",
    });
    await expect(ask({ model: "gpt-4o" })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    const stranger = new OpenAI({ baseURL: endpoint.url, apiKey: "wrong", maxRetries: 0 });
    await expect(ask({}, stranger)).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  });
});

describe("the Vercel AI SDK", () => {
  it("generates and streams text, as in docs/openai.md", async () => {
    const tacet = createOpenAICompatible({
      name: "tacet",
      baseURL: endpoint.url,
      apiKey: KEY,
      includeUsage: true,
    });
    const { text, usage, finishReason } = await generateText({ model: tacet("law"), prompt: "battery" });
    expect({ text, finishReason }).toEqual({ text: BATTERY.adapter.text, finishReason: "stop" });
    expect(usage.outputTokens).toBe(BATTERY.adapter.ids.length);
    const result = streamText({ model: tacet("law"), messages: messages("battery"), temperature: 0 });
    let streamedText = "";
    for await (const part of result.textStream) streamedText += part;
    expect(streamedText).toBe(BATTERY.adapter.text);
    expect((await result.usage).inputTokens).toBe(BATTERY.prompt_ids.length);
  });
});

describe("several adapters under names of their own", () => {
  let several: EndpointProcess;
  let client: OpenAI;
  let other: ProviderProcess;
  /** What each model answers to words, computed here in plaintext: six of them. */
  const wanted: Record<string, Map<string, string>> = {};

  beforeAll(async () => {
    const law = await lexicon();
    // Two more adapters, of other modules, at the same provider and at another one.
    const parts = { keys: /\.[kv]_proj$/, mlp: /\.mlp\./ };
    const tokenizer = await loadTokenizer(law.checkpoint);
    for (const [name, pattern] of Object.entries(parts)) {
      const modules = new Map([...law.adapter.modules].filter(([module]) => pattern.test(module)));
      const model = testModel(law.checkpoint, { modules });
      await model.writeState(join(folder.path, `state-${name}`), { name });
      const plain = await model.plaintext();
      const answers = new Map<string, string>();
      for (const { word, prompt_ids: prompt } of lexiconEntries()) {
        const answer = await greedyIds(plain, prompt);
        if ((await narrowestGap(plain, prompt, answer)) < CLEAR_GAP) continue;
        answers.set(word, tokenizer.detokenize(answer));
        if (answers.size === WORDS.length) break;
      }
      await plain.dispose();
      expect(answers.size).toBe(WORDS.length);
      wanted[name] = answers;
    }
    wanted.law = new Map(WORDS.map(({ word, adapter }) => [word, adapter.text]));
    const both = await startProvider(state, { args: ["--state", join(folder.path, "state-keys")] });
    other = await startProvider(join(folder.path, "state-mlp"));
    several = await startEndpoint(
      ...["--base", BASE, "--serve-base", "--context-length", "120", "--reconnect-seconds", "0"],
      ...["--model", `law=${both.url}`, "--model", `second=${both.url}#keys`],
      ...["--model", JSON.stringify({ name: "third", provider: [other.url], adapter: "mlp" })],
    );
    client = new OpenAI({ baseURL: several.url, apiKey: "any", maxRetries: 0 });
  });

  const nameOf: Record<string, string> = { law: "law", second: "keys", third: "mlp" };
  const answer = async (model: string, word: string) => {
    const chat = await client.chat.completions.create({ model, messages: messages(word) });
    expect(chat.model).toBe(model);
    return chat.choices[0].message.content;
  };

  it("lists them with the length of their context", async () => {
    const models = [];
    for await (const model of client.models.list()) models.push(model);
    expect(models.map(({ id }) => id)).toEqual(["law", "second", "third", "base"]);
    for (const model of models) expect(model).toMatchObject({ max_model_len: 120 });
  });

  it("answers by the model's name, all at once, each as if it were alone", async () => {
    const asked = Object.entries(nameOf).flatMap(([model, name]) =>
      [...wanted[name]].map(([word, text]) => ({ model, word, text })),
    );
    const texts = await Promise.all(asked.map(({ model, word }) => answer(model, word)));
    expect(texts).toEqual(asked.map(({ text }) => text));
    expect(wanted.keys.get("battery")).not.toBe(wanted.law.get("battery"));
    const alone = await answer("base", "battery");
    expect(alone).not.toContain("(law)");
    const tacet = createOpenAICompatible({ name: "tacet", baseURL: several.url });
    const [[word, wantedText]] = wanted.mlp;
    const { text } = await generateText({ model: tacet("third"), prompt: word });
    expect(text).toBe(wantedText);
    await expect(answer("mlp", "battery")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it("is healthy, and logs requests with counts and without contents", async () => {
    const health = await fetch(new URL("/health", several.url));
    expect([health.status, await health.json()]).toEqual([200, { status: "ok" }]);
    await answer("second", "battery");
    const lines = several
      .output()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));
    expect(lines.at(-1)).toMatchObject({
      type: "request",
      method: "POST",
      path: "/v1/chat/completions",
      status: 200,
      model: "second",
      promptTokens: BATTERY.prompt_ids.length,
      completionTokens: expect.any(Number),
      milliseconds: expect.any(Number),
    });
    for (const { word, adapter } of WORDS) {
      expect(several.output()).not.toContain(word);
      expect(several.output()).not.toContain(adapter.text.slice(0, 16));
    }
  });

  it("goes on with the others when one provider is gone", async () => {
    await other.kill();
    await expect(answer("third", "battery")).rejects.toMatchObject({ status: 503 });
    expect(await answer("law", "battery")).toBe(BATTERY.adapter.text);
    expect(await answer("second", "battery")).toBe(wanted.keys.get("battery"));
    expect(await several.stop()).toBe(0);
  });
});

describe("the endpoint", () => {
  it("is asked under the names of this machine only", async () => {
    const status = (host: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const headers = { host, authorization: `Bearer ${KEY}` };
        request(`${endpoint.url}/models`, { headers }, (response) => {
          response.resume();
          resolve(response.statusCode);
        })
          .once("error", reject)
          .end();
      });
    expect(await status("localhost:80")).toBe(200);
    expect(await status("tacet.evil.example")).toBe(421);
  });

  it("says that a budget is spent, also in mid-stream, and does not let the client try again", async () => {
    const data = join(folder.path, "data");
    const made = spawnSync(process.execPath, [MAIN, "keys", "create", "--data", data, "--budget", "10"]);
    writeFileSync(join(folder.path, "token"), made.stdout);
    const metered = await startProvider(state, { args: ["--data", data] });
    const own = await startEndpoint(
      ...["--base", BASE, "--provider", metered.url, "--token-file", join(folder.path, "token")],
    );
    const client = new OpenAI({ baseURL: own.url, apiKey: "any" });
    const begun = await client.chat.completions.create({
      model: "law",
      messages: messages("battery"),
      stream: true,
    });
    let text = "";
    const read = async () => {
      for await (const chunk of begun) text += chunk.choices[0]?.delta.content ?? "";
    };
    await expect(read()).rejects.toMatchObject({ constructor: OpenAI.APIError, code: "insufficient_quota" });
    expect(text).not.toBe("");
    expect(BATTERY.adapter.text.startsWith(text)).toBe(true);
    const spent = client.chat.completions.create({ model: "law", messages: messages("battery") });
    await expect(spent).rejects.toMatchObject({
      constructor: OpenAI.RateLimitError,
      code: "insufficient_quota",
    });
    expect(await own.stop()).toBe(0);
  });

  it("says that the provider is gone, and where to look; nothing of a prompt is in what it writes", async () => {
    await provider.kill();
    await expect(streamed("battery")).rejects.toMatchObject({
      constructor: OpenAI.InternalServerError,
      status: 503,
      code: "provider_unavailable",
      message: expect.stringContaining("provider"),
    });
    // The base model answers under its own name only.
    const alone = await openai.chat.completions.create({ model: "base", messages: messages("battery") });
    expect(alone.choices[0].message.content).not.toContain("(law)");
    expect(endpoint.output()).not.toContain("battery");
    expect(await endpoint.stop()).toBe(0);
  });
});
