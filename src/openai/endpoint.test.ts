/** The endpoint as a function, on the real model with the adapter in this process: no port, no provider. */

import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { lexicon, lexiconEntries } from "../../test/support/models.ts";
import type { CausalLm } from "../model/causal-lm.ts";
import { nodeFileTree } from "../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { Endpoint, type EndpointOptions, FairSemaphore, type RequestEntry, ServedModel } from "./endpoint.ts";

const ORIGIN = "https://app.example";
/** The shortest answers first. */
const ENTRIES = lexiconEntries()
  .filter(({ kind }) => kind === "law")
  .sort((a, b) => a.adapter.ids.length - b.adapter.ids.length);
const BATTERY = ENTRIES[0];

let model: CausalLm;
let checkpoint: Checkpoint;
let served: ServedModel;

beforeAll(async () => {
  const lexiconModel = await lexicon();
  model = await lexiconModel.plaintext();
  ({ checkpoint } = lexiconModel);
  served = await serve(new FairSemaphore(4, 32));
});
afterAll(async () => {
  served.dispose();
  await model.dispose();
});

function serve(answers: FairSemaphore, contexts = 4): Promise<ServedModel> {
  return ServedModel.open({
    id: "law",
    model,
    checkpoint,
    ownedBy: "test",
    fingerprint: "fp_test",
    answers,
    contexts,
  });
}

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: bodies are held against expected shapes
  readonly body: any;
}

interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly options?: Partial<EndpointOptions>;
  readonly signal?: AbortSignal;
}

async function ask(
  path: string,
  body?: unknown,
  { method, headers, options, signal }: Ask = {},
): Promise<Reply> {
  const endpoint = new Endpoint({ models: [served], ...options });
  const response = await endpoint.handle(request(path, body, { method, headers, signal }));
  const text = await response.text();
  const isJson = response.headers.get("content-type") === "application/json";
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

function request(
  path: string,
  body?: unknown,
  { method, headers, signal }: { [K in keyof Ask]?: Ask[K] | undefined } = {},
): Request {
  return new Request(`http://localhost${path}`, {
    method: method ?? (body === undefined ? "GET" : "POST"),
    headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
}

const chat = (word: string, more: object = {}) => ({
  model: "law",
  messages: [{ role: "user", content: word }],
  ...more,
});

/** An answer of some ninety tokens; without the seed it may have ended before anyone looks. */
const LONG_TEXT = { temperature: 2, seed: 8, max_tokens: 1000 };

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** The bodies of a stream's events. */
function eventsOf(text: string): string[] {
  return text.split("\n\n").flatMap((event) => (event === "" ? [] : [event.replace(/^data: /, "")]));
}

describe("answers", () => {
  it("chat: the text, its end and the counts", async () => {
    const { status, body } = await ask("/v1/chat/completions", chat("battery"));
    expect(status).toBe(200);
    expect(body).toEqual({
      id: expect.stringMatching(/^chatcmpl-[0-9a-f]{24}$/),
      object: "chat.completion",
      created: expect.any(Number),
      model: "law",
      system_fingerprint: "fp_test",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: BATTERY.adapter.text, refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: {
        prompt_tokens: BATTERY.prompt_ids.length,
        completion_tokens: BATTERY.adapter.ids.length,
        total_tokens: BATTERY.prompt_ids.length + BATTERY.adapter.ids.length,
        prompt_tokens_details: { cached_tokens: 0 },
      },
    });
  });

  it("chat, streamed: the role first, the text, the end, the counts, [DONE]", async () => {
    const { body, headers } = await ask(
      "/v1/chat/completions",
      chat("battery", { stream: true, stream_options: { include_usage: true } }),
    );
    expect(headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const events = eventsOf(body);
    expect(events.pop()).toBe("[DONE]");
    const chunks = events.map((event) => JSON.parse(event));
    expect(new Set(chunks.map(({ id, object }) => `${id} ${object}`)).size).toBe(1);
    expect(chunks[0].choices[0].delta).toEqual({ role: "assistant", content: "", refusal: null });
    const usage = chunks.pop();
    expect(usage).toMatchObject({ choices: [], usage: { completion_tokens: BATTERY.adapter.ids.length } });
    expect(chunks.every((chunk) => chunk.usage === null)).toBe(true);
    expect(chunks.at(-1).choices[0]).toMatchObject({ delta: {}, finish_reason: "stop" });
    expect(chunks.map(({ choices }) => choices[0].delta.content ?? "").join("")).toBe(BATTERY.adapter.text);
  });

  it("completions: of a text and of ids, 16 tokens unless more are asked for", async () => {
    for (const prompt of ["<|user|>battery<|end|><|assistant|>", BATTERY.prompt_ids, [BATTERY.prompt_ids]]) {
      const whole = await ask("/v1/completions", { model: "law", prompt, max_tokens: 96 });
      expect(whole.body.choices).toEqual([
        { index: 0, text: BATTERY.adapter.text, logprobs: null, finish_reason: "stop" },
      ]);
    }
    const short = await ask("/v1/completions", { model: "law", prompt: ENTRIES.at(-1)!.prompt_ids });
    expect(short.body).toMatchObject({
      choices: [{ finish_reason: "length" }],
      usage: { completion_tokens: 16 },
    });
  });

  it("content as text parts, developer for system, empty fields of an answer sent back", async () => {
    const messages = [
      {
        role: "user",
        content: [
          { type: "text", text: "bat" },
          { type: "text", text: "tery" },
        ],
      },
    ];
    const { body } = await ask("/v1/chat/completions", {
      model: "law",
      messages,
      tools: [],
      logit_bias: null,
    });
    expect(body.choices[0].message.content).toBe(BATTERY.adapter.text);
    const again = [
      ...messages,
      { ...body.choices[0].message, tool_calls: [] },
      { role: "user", content: "bail" },
    ];
    expect(await ask("/v1/chat/completions", { model: "law", messages: again, max_tokens: 1 })).toMatchObject(
      {
        status: 200,
      },
    );
    const system = await ask("/v1/chat/completions", {
      model: "law",
      messages: [{ role: "developer", content: "be brief" }],
    });
    // The embedded model's template knows no system message, and says so.
    expect(system).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringMatching(/system/) } },
    });
  });

  it("stop strings end the text, and their tokens have no log-probabilities", async () => {
    const stop = [" payment", "never"];
    const { body } = await ask(
      "/v1/chat/completions",
      chat("tender", { stop, logprobs: true, top_logprobs: 2, max_completion_tokens: 96 }),
    );
    const [choice] = body.choices;
    expect(choice).toMatchObject({ message: { content: "(law) to offer in" }, finish_reason: "stop" });
    const { content } = choice.logprobs;
    expect(content.map(({ token }: { token: string }) => token).join("")).toBe("(law) to offer in");
    for (const { token, logprob, bytes, top_logprobs } of content) {
      expect(Buffer.from(bytes).toString()).toBe(token);
      expect(top_logprobs).toHaveLength(2);
      expect(top_logprobs[0]).toEqual({ token, logprob, bytes });
    }
  });

  it("log-probabilities in the completions' shape", async () => {
    const { body } = await ask("/v1/completions", {
      model: "law",
      prompt: BATTERY.prompt_ids,
      logprobs: 1,
      max_tokens: 3,
    });
    const { tokens, token_logprobs, top_logprobs, text_offset } = body.choices[0].logprobs;
    expect(tokens).toEqual(["(", "law", ")"]);
    expect(text_offset).toEqual([0, 1, 4]);
    expect(top_logprobs).toEqual(tokens.map((token: string, i: number) => ({ [token]: token_logprobs[i] })));
  });

  it("a seed repeats a draw; a temperature of 0 and a top_p of 0 take the likeliest", async () => {
    const drawn = async (more: object) =>
      (await ask("/v1/chat/completions", chat("bail", { temperature: 1.5, max_tokens: 12, ...more }))).body
        .choices[0].message.content;
    expect(await drawn({ seed: 7 })).toBe(await drawn({ seed: 7 }));
    const likeliest = await drawn({ temperature: 0 });
    expect(await drawn({ top_p: 0, seed: 1 })).toBe(likeliest);
    expect(await drawn({ top_k: 1, seed: 1 })).toBe(likeliest);
  });

  it("what was read for a conversation is not read again", async () => {
    const options = { models: [await serve(new FairSemaphore(4, 32))] };
    const first = await ask("/v1/chat/completions", chat("battery"), { options });
    const messages = [
      { role: "user", content: "battery" },
      first.body.choices[0].message,
      { role: "user", content: "bail" },
    ];
    const other = await ask("/v1/chat/completions", chat("arson"), { options });
    const second = await ask("/v1/chat/completions", { model: "law", messages }, { options });
    const cold = await ask("/v1/chat/completions", { model: "law", messages });
    expect(other.body.usage.prompt_tokens_details.cached_tokens).toBeLessThan(3);
    const { prompt_tokens, completion_tokens } = first.body.usage;
    expect(second.body.usage.prompt_tokens_details.cached_tokens).toBe(prompt_tokens + completion_tokens - 1);
    expect(second.body.choices).toEqual(cold.body.choices);
  });
});

describe("refusals", () => {
  it.each<[string, object, string]>([
    ["messages", { messages: [] }, "messages"],
    ["a role", { messages: [{ role: "tool", content: "x" }] }, "messages[0].role"],
    [
      "an image",
      { messages: [{ role: "user", content: [{ type: "image_url" }] }] },
      "messages[0].content[0]",
    ],
    [
      "tool calls",
      { messages: [{ role: "assistant", content: "", tool_calls: [{}] }] },
      "messages[0].tool_calls",
    ],
    ["tools", { tools: [{ type: "function" }] }, "tools"],
    ["a response format", { response_format: { type: "json_object" } }, "response_format"],
    ["several answers", { n: 2 }, "n"],
    ["a hot temperature", { temperature: 2.5 }, "temperature"],
    ["no tokens", { max_tokens: 0 }, "max_tokens"],
    ["two limits", { max_tokens: 1, max_completion_tokens: 1 }, "max_tokens"],
    ["five stops", { stop: ["a", "b", "c", "d", "e"] }, "stop"],
    ["an empty stop", { stop: "" }, "stop"],
    ["top_logprobs alone", { top_logprobs: 2 }, "top_logprobs"],
    ["stream_options alone", { stream_options: {} }, "stream_options"],
    ["an unknown field", { reasoning_effort: "high" }, "reasoning_effort"],
    ["a list of models", { model: ["law"] }, "model"],
  ])("%s", async (_, more, param) => {
    const { status, body } = await ask("/v1/chat/completions", chat("battery", more));
    expect({ status, body }).toEqual({
      status: 400,
      body: {
        error: {
          message: expect.any(String),
          type: "invalid_request_error",
          param,
          code: body.error.code,
        },
      },
    });
  });

  it("an unknown model, path or method; never another model in its place", async () => {
    expect(await ask("/v1/chat/completions", { ...chat("x"), model: "base" })).toMatchObject({
      status: 404,
      body: { error: { code: "model_not_found", param: "model" } },
    });
    expect(await ask("/v1/models/gpt-4o")).toMatchObject({ status: 404 });
    expect(await ask("/v1/models/law")).toMatchObject({ status: 200, body: { id: "law", object: "model" } });
    expect(await ask("/v1/embeddings", {})).toMatchObject({
      status: 404,
      body: { error: { code: "unknown_url" } },
    });
    const wrong = await ask("/v1/models", {});
    expect(wrong).toMatchObject({ status: 405 });
    expect(wrong.headers.get("allow")).toBe("GET");
  });

  it("a prompt that does not fit, also of a stream", async () => {
    for (const stream of [false, true]) {
      const long = chat("x ".repeat(model.contextLength), { stream });
      expect(await ask("/v1/chat/completions", long)).toMatchObject({
        status: 400,
        body: { error: { code: "context_length_exceeded" } },
      });
    }
    const prompt = [model.config.vocabSize];
    expect(await ask("/v1/completions", { model: "law", prompt })).toMatchObject({ status: 400 });
    expect(await ask("/v1/completions", { model: "law", prompt: "" })).toMatchObject({ status: 400 });
    expect(await ask("/v1/completions", { model: "law", prompt: ["a", "b"] })).toMatchObject({ status: 400 });
  });

  it("bodies that are too large, no JSON, or of another type", async () => {
    const options = { maxBodyBytes: 100 };
    expect(await ask("/v1/chat/completions", chat("x".repeat(100)), { options })).toMatchObject({
      status: 413,
    });
    expect(await ask("/v1/chat/completions", "{nonsense")).toMatchObject({
      status: 400,
      body: { error: { message: "the body is not valid JSON" } },
    });
    const headers = { "content-type": "text/plain" };
    expect(await ask("/v1/chat/completions", chat("x"), { headers })).toMatchObject({ status: 415 });
  });

  it("a wrong key, and pages of other origins", async () => {
    const options = {
      authorize: (key: string) => (key === "right" ? "key-1" : undefined),
      corsOrigins: [ORIGIN],
    };
    const authorization = "Bearer right";
    expect(await ask("/v1/models", undefined, { options })).toMatchObject({
      status: 401,
      body: { error: { code: "invalid_api_key" } },
    });
    expect(
      await ask("/v1/models", undefined, { options, headers: { authorization: "Bearer x" } }),
    ).toMatchObject({
      status: 401,
    });
    const page = await ask("/v1/models", undefined, { options, headers: { authorization, origin: ORIGIN } });
    expect(page.status).toBe(200);
    expect(page.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    const other = { authorization, origin: "https://evil.example" };
    const refused = await ask("/v1/models", undefined, { options, headers: other });
    expect(refused.status).toBe(403);
    expect(refused.headers.get("access-control-allow-origin")).toBeNull();
    const preflight = await ask("/v1/chat/completions", undefined, {
      options,
      method: "OPTIONS",
      headers: { origin: ORIGIN, "access-control-request-headers": "authorization,content-type" },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-headers")).toBe("authorization,content-type");
    expect(await ask("/v1/models", undefined, { headers: { origin: ORIGIN } })).toMatchObject({
      status: 403,
    });
  });

  it("any JSON gets an answer or an error in OpenAI's shape", async () => {
    const field = fc.constantFrom(
      ...[
        "messages",
        "prompt",
        "stop",
        "n",
        "seed",
        "temperature",
        "top_p",
        "logprobs",
        "top_logprobs",
        "tools",
      ],
      ...[
        "stream",
        "stream_options",
        "response_format",
        "max_completion_tokens",
        "model",
        "presence_penalty",
      ],
    );
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<unknown>(1, 0, -1, 1e300, "", "x", true, [], {}, [1], ["x"], [[1, 2]], {
        type: "text",
      }),
      fc.array(fc.record({ role: fc.constantFrom("user", "assistant"), content: fc.string() }), {
        maxLength: 3,
      }),
    );
    const body = fc
      .tuple(fc.dictionary(field, value, { maxKeys: 3 }), fc.constantFrom("chat/completions", "completions"))
      .map(([more, path]) => ({
        path,
        body: { ...chat("battery"), ...more, max_tokens: 1 } as Record<string, unknown>,
      }));
    const faults: unknown[] = [];
    const options = { onFault: (error: unknown) => faults.push(error) };
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          body,
          fc.jsonValue().map((json) => ({ path: "completions", body: json })),
        ),
        async (asked) => {
          const { path } = asked;
          const json = asked.body as Record<string, unknown> | null;
          if (path === "completions" && typeof json === "object" && json !== null) delete json.messages;
          const reply = await ask(`/v1/${path}`, JSON.stringify(json), { options });
          if (reply.status === 200) return;
          expect([400, 404]).toContain(reply.status);
          const { error } = reply.body;
          expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
          expect(error.message).not.toBe("");
        },
      ),
      { numRuns: process.env.SLOW ? 2000 : 100 },
    );
    expect(faults).toEqual([]);
  });
});

describe("several at once", () => {
  it("a full queue turns requests away with Retry-After, and those that wait are answered", async () => {
    const options = { models: [await serve(new FairSemaphore(1, 1))] };
    const endpoint = new Endpoint(options);
    const replies = await Promise.all(
      [1, 2, 3].map(() => endpoint.handle(request("/v1/chat/completions", chat("battery")))),
    );
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 200, 429]);
    const refused = replies.find(({ status }) => status === 429)!;
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(await refused.json()).toMatchObject({ error: { code: "rate_limit_exceeded" } });
  });

  it("answers make tokens in turns; each is what it is alone", async () => {
    const endpoint = new Endpoint({ models: [served] });
    const order: number[] = [];
    await Promise.all(
      ENTRIES.slice(0, 4).map(async ({ word, adapter }, i) => {
        const response = await endpoint.handle(request("/v1/chat/completions", chat(word, { stream: true })));
        let text = "";
        for await (const part of response.body!) {
          order.push(i);
          text += new TextDecoder().decode(part);
        }
        const chunks = eventsOf(text)
          .slice(0, -1)
          .map((event) => JSON.parse(event));
        expect(chunks.map(({ choices }) => choices[0].delta.content ?? "").join("")).toBe(adapter.text);
      }),
    );
    // By the time the first one has given ten chunks, all have begun.
    const tenth = order.findIndex(
      (_, at) => order.slice(0, at + 1).filter((i) => i === order[0]).length === 10,
    );
    expect(new Set(order.slice(0, tenth)).size).toBe(4);
  });

  it("a long prompt is read in turns, and counted once", async () => {
    const endpoint = new Endpoint({ models: [await serve(new FairSemaphore(4, 0))] });
    const long = {
      model: "law",
      prompt: Array.from({ length: 1200 }, (_, i) => 10 + (i % 90)),
      max_tokens: 1,
    };
    // biome-ignore lint/suspicious/noExplicitAny: held against the expected shape
    const post = async (): Promise<any> =>
      await (await endpoint.handle(request("/v1/completions", long))).json();
    const first = await post();
    expect(first.usage).toMatchObject({ prompt_tokens: 1200, prompt_tokens_details: { cached_tokens: 0 } });
    const again = await post();
    expect(again.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 1199 } });
    expect(again.choices).toEqual(first.choices);
  });

  it("nobody waits for a reader that stops, or for one that goes away", async () => {
    const answers = new FairSemaphore(1, 8);
    const endpoint = new Endpoint({ models: [await serve(answers)] });
    const streamed = () =>
      endpoint.handle(request("/v1/chat/completions", chat("battery", { stream: true })));
    const stalled = await streamed();
    const left = await streamed();
    await left.body!.cancel();
    const last = await endpoint.handle(request("/v1/chat/completions", chat("battery")));
    expect(last.status).toBe(200);
    // The one that stopped reading has its whole answer.
    expect(await stalled.text()).toContain("[DONE]");
    expect(answers.running).toBe(0);
  });

  it("a request that is aborted leaves the queue and its turn", async () => {
    const answers = new FairSemaphore(1, 8);
    const endpoint = new Endpoint({ models: [await serve(answers)] });
    const first = new AbortController();
    const second = new AbortController();
    const long = chat("battery", LONG_TEXT);
    const replies = [first, second].map(({ signal }) =>
      endpoint.handle(request("/v1/chat/completions", long, { signal })),
    );
    await expect.poll(() => answers.waiting, { interval: 1 }).toBe(1);
    second.abort();
    await expect.poll(() => answers.waiting).toBe(0);
    first.abort();
    await Promise.all(replies);
    expect(answers.running).toBe(0);
  });

  it("a stream is broken off by its request's signal, also when only the stream is still held", async () => {
    const endpoint = new Endpoint({ models: [served] });
    const gone = new AbortController();
    const stream = await endpoint.handle(
      request("/v1/chat/completions", chat("battery", { stream: true, ...LONG_TEXT }), {
        signal: gone.signal,
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, 0));
    collectGarbage();
    gone.abort();
    expect(eventsOf(await stream.text()).at(-1)).toMatch(/^{"error":/);
  });

  it("stops: what is begun may end, and what comes is refused", async () => {
    const endpoint = new Endpoint({ models: [served] });
    const begun = await endpoint.handle(
      request("/v1/chat/completions", chat("battery", { stream: true, max_tokens: 8 })),
    );
    const stopped = endpoint.stop(60_000);
    expect((await endpoint.handle(request("/v1/chat/completions", chat("x")))).status).toBe(503);
    await stopped;
    expect(eventsOf(await begun.text()).at(-1)).toBe("[DONE]");
  });

  it("stops: what takes too long is broken off", async () => {
    const endpoint = new Endpoint({ models: [served] });
    const stream = await endpoint.handle(
      request("/v1/chat/completions", chat("battery", { stream: true, ...LONG_TEXT })),
    );
    await endpoint.stop(0);
    expect(eventsOf(await stream.text()).at(-1)).toMatch(/^{"error":/);
  });
});

describe("chat_template_kwargs", () => {
  let dir: string;
  let templated: ServedModel;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "tacet-template-"));
    cpSync("models/lexicon/base", dir, { recursive: true });
    writeFileSync(
      join(dir, "chat_template.jinja"),
      "<|user|>{{ messages[0].content }}{{ ending }}<|end|><|assistant|>",
    );
    templated = await ServedModel.open({
      id: "law",
      model,
      checkpoint: await openCheckpoint(nodeFileTree(dir)),
      ownedBy: "test",
      answers: new FairSemaphore(4, 32),
      contexts: 1,
      templateVariables: { ending: "ttery" },
    });
  });
  afterAll(() => {
    templated.dispose();
    rmSync(dir, { recursive: true });
  });
  const asked = (word: string, kwargs?: unknown) =>
    ask(
      "/v1/chat/completions",
      chat(word, { max_tokens: 64, ...(kwargs === undefined ? {} : { chat_template_kwargs: kwargs }) }),
      { options: { models: [templated] } },
    );

  it("reach the template, over what the endpoint was started with", async () => {
    for (const [word, kwargs] of [
      ["ba", undefined],
      ["ba", null],
      ["batt", { ending: "ery" }],
      ["battery", { ending: "" }],
    ] as const) {
      const { body } = await asked(word, kwargs);
      expect(body.choices[0].message.content).toBe(BATTERY.adapter.text);
    }
  });

  it("are refused where they would change nothing", async () => {
    expect(await asked("ba", { endin: "ttery" })).toMatchObject({
      status: 400,
      body: {
        error: { message: expect.stringMatching(/does not read the variable "endin" .*reads ending/) },
      },
    });
    expect(await asked("ba", { messages: [] })).toMatchObject({ status: 400 });
    expect(await asked("ba", "ending")).toMatchObject({
      status: 400,
      body: { error: { param: "chat_template_kwargs" } },
    });
    const completion = { model: "law", prompt: "x", chat_template_kwargs: { ending: "" } };
    expect(await ask("/v1/completions", completion)).toMatchObject({ status: 400 });
  });
});

describe("ends, and fields that are null", () => {
  it("ends at what a request names where the checkpoint names another end: a control token, or an id", async () => {
    const generation = {
      ...((await checkpoint.json("generation_config.json")) as object),
      eos_token_id: 4000,
    };
    const other: Checkpoint = {
      ...checkpoint,
      json: async (name) => (name === "generation_config.json" ? generation : await checkpoint.json(name)),
    };
    const answers = new FairSemaphore(4, 32);
    const models = [
      await ServedModel.open({
        ...{ id: "law", model, ownedBy: "test" },
        checkpoint: other,
        answers,
        contexts: 4,
      }),
    ];
    const reply = async (more: object) => {
      const { status, body } = await ask(
        "/v1/chat/completions",
        chat("battery", { max_tokens: 60, temperature: 0, ...more }),
        { options: { models } },
      );
      return status === 200
        ? [body.choices[0].finish_reason, body.choices[0].message.content, body.usage.completion_tokens]
        : [status, body.error.param, body.error.code];
    };
    const whole = ["stop", BATTERY.adapter.text, BATTERY.adapter.ids.length];
    expect((await reply({}))[0]).toBe("length");
    expect(await reply({ stop: ["<|end|>"] })).toEqual(whole);
    expect(await reply({ stop: "<|end|>" })).toEqual(whole);
    expect(await reply({ stop_token_ids: [3] })).toEqual(whole);
    expect(await reply({ stop_token_ids: [7, 3], stop: null })).toEqual(whole);
    expect(await reply({ stop_token_ids: [] })).toEqual(await reply({}));
    expect(await reply({ stop_token_ids: [4096] })).toEqual([400, null, "invalid_value"]);
    for (const wrong of [3, ["3"], [-1], [0.5], [null], Array(65).fill(3)])
      expect(await reply({ stop_token_ids: wrong })).toEqual([400, "stop_token_ids", null]);
    for (const stop of [{ stop_token_ids: [3] }, { stop: "<|end|>" }]) {
      const logged = await ask(
        "/v1/chat/completions",
        chat("battery", { max_tokens: 60, logprobs: true, ...stop }),
        { options: { models } },
      );
      const tokens = logged.body.choices[0].logprobs.content.map(({ token }: { token: string }) => token);
      expect(tokens.join("")).toBe(BATTERY.adapter.text);
    }
    models[0].dispose();
  });

  it("takes every field that is null for left out, known or not", async () => {
    const { body } = await ask("/v1/chat/completions", chat("battery"));
    const nulls = {
      reasoning_effort: null,
      verbosity: null,
      later: null,
      n: null,
      stop: null,
      stop_token_ids: null,
    };
    const same = await ask("/v1/chat/completions", chat("battery", nulls));
    expect(same.body.choices).toEqual(body.choices);
    const stream = { stream: true, stream_options: { include_usage: null, later: null } };
    expect((await ask("/v1/chat/completions", chat("battery", stream))).status).toBe(200);
    const refused = await ask("/v1/chat/completions", chat("battery", { reasoning_effort: "high" }));
    expect(refused.body.error).toMatchObject({ param: "reasoning_effort", code: "unknown_parameter" });
  });
});

describe("several keys", () => {
  const authorize = (key: string) => (key.startsWith("key-") ? key : undefined);
  const as = (key: string) => ({ authorization: `Bearer ${key}` });

  it("one learns nothing of what another one has asked: the attack by cached_tokens", async () => {
    const secret = ENTRIES[3].word;
    const guesses = ENTRIES.slice(0, 8).map(({ word }) => word);
    /** What an attacker sees, guess by guess, with and without the victim's request before. */
    const attack = async (victimAsks: boolean): Promise<unknown[]> => {
      const model = await serve(new FairSemaphore(4, 32), 8);
      const options = { models: [model], authorize };
      const cached = async (key: string, word: string): Promise<number> => {
        const { status, body } = await ask("/v1/chat/completions", chat(word, { max_tokens: 1 }), {
          options,
          headers: as(key),
        });
        expect(status).toBe(200);
        return body.usage.prompt_tokens_details.cached_tokens;
      };
      if (victimAsks) {
        expect(await cached("key-victim", secret)).toBe(0);
        // To the victim itself its context is of use: the attack would work on it.
        expect(await cached("key-victim", secret)).toBeGreaterThan(1);
      }
      const seen = [];
      for (const guess of guesses) seen.push(await cached("key-attacker", guess));
      model.dispose();
      return seen;
    };
    expect(await attack(true)).toEqual(await attack(false));
  });

  it("without keys all who ask are one, and go on from what was read", async () => {
    const model = await serve(new FairSemaphore(4, 32), 8);
    const word = ENTRIES[5].word;
    for (const expected of [0, ENTRIES[5].prompt_ids.length - 1]) {
      const { body } = await ask("/v1/chat/completions", chat(word), { options: { models: [model] } });
      expect(body.usage.prompt_tokens_details.cached_tokens).toBe(expected);
    }
    model.dispose();
  });
});

describe("health, context length and log", () => {
  const authorize = (key: string) => (key === "secret-key" ? "key-1" : undefined);

  it("health needs no key, and says when the endpoint is being stopped", async () => {
    const endpoint = new Endpoint({ models: [served], authorize });
    for (const path of ["/health", "/healthz"]) {
      const response = await endpoint.handle(request(path));
      expect([response.status, await response.json()]).toEqual([200, { status: "ok" }]);
    }
    expect((await endpoint.handle(request("/health", {}))).status).toBe(405);
    const page = request("/health", undefined, { headers: { origin: ORIGIN } });
    expect((await endpoint.handle(page)).status).toBe(403);
    await endpoint.stop(0);
    expect((await endpoint.handle(request("/health"))).status).toBe(503);
  });

  it("models have the length of their context, as vLLM gives it", async () => {
    const { body } = await ask("/v1/models");
    expect(body.data[0].max_model_len).toBe(model.contextLength);
    expect((await ask("/v1/models/law")).body.max_model_len).toBe(model.contextLength);
  });

  it("every request is one entry, without anything that was asked, answered or sent as a key", async () => {
    const entries: RequestEntry[] = [];
    const options = { authorize, onRequest: (entry: RequestEntry) => void entries.push(entry) };
    const headers = { authorization: "Bearer secret-key" };
    const say = (path: string, body?: unknown, more: Ask = {}) =>
      ask(path, body, { options, headers, ...more });
    await say("/v1/chat/completions", chat("battery"));
    await say("/v1/chat/completions", chat("battery", { stream: true }));
    await say("/v1/completions", { model: "law", prompt: [...BATTERY.prompt_ids], max_tokens: 2 });
    await say("/v1/models");
    await say("/v1/models/battery");
    await say("/battery?prompt=battery", undefined, { method: "BATTERY" });
    await say("/v1/chat/completions", chat("battery", { battery: "battery" }));
    await say("/v1/chat/completions", { ...chat("battery"), model: "battery" });
    await say("/v1/chat/completions", chat("battery"), { headers: { authorization: "Bearer battery" } });
    await say("/health", undefined, { headers: {} });
    const key = "key-1";
    const path = "/v1/chat/completions";
    const post = { method: "POST", path, key, status: 200, model: "law" };
    const counts = { promptTokens: BATTERY.prompt_ids.length, completionTokens: BATTERY.adapter.ids.length };
    expect(entries).toMatchObject([
      { ...post, stream: false, ...counts },
      { ...post, stream: true, ...counts },
      { ...post, path: "/v1/completions", completionTokens: 2 },
      { method: "GET", path: "/v1/models", key, status: 200 },
      { method: "GET", path: "/v1/models/{model}", key, status: 404, error: "model_not_found" },
      { method: "other", path: "other", key, status: 404, error: "unknown_url" },
      { method: "POST", path, key, status: 400, error: "unknown_parameter" },
      { method: "POST", path, key, status: 404, error: "model_not_found" },
      { method: "POST", path, status: 401, error: "invalid_api_key" },
      { method: "GET", path: "/health", status: 200 },
    ]);
    for (const entry of entries) expect(entry.milliseconds).toBeGreaterThanOrEqual(0);
    const all = JSON.stringify(entries);
    for (const secret of ["battery", "secret-key", BATTERY.adapter.text.slice(0, 12)])
      expect(all.toLowerCase()).not.toContain(secret.toLowerCase());
  });

  it("an answer that its reader leaves is one entry too", async () => {
    const entries: RequestEntry[] = [];
    const endpoint = new Endpoint({ models: [served], onRequest: (entry) => void entries.push(entry) });
    const response = await endpoint.handle(
      request("/v1/chat/completions", chat("battery", { ...LONG_TEXT, stream: true })),
    );
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await vi.waitFor(() => expect(entries).toHaveLength(1));
    expect(entries[0]).toMatchObject({ status: 200, stream: true, error: "broken_off" });
  });

  it("one whose client goes away, streamed or not, is told from one that failed", async () => {
    const entries: RequestEntry[] = [];
    const endpoint = new Endpoint({ models: [served], onRequest: (entry) => void entries.push(entry) });
    for (const stream of [true, false]) {
      const gone = new AbortController();
      const body = chat("battery", { ...LONG_TEXT, stream });
      const handled = endpoint.handle(request("/v1/chat/completions", body, { signal: gone.signal }));
      if (stream) await handled;
      gone.abort();
      await (await handled).text();
    }
    expect(entries.map(({ error }) => error)).toEqual(["broken_off", "broken_off"]);
  });
});
