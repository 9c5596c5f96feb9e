/** Sessions on the embedded model: whatever the cache holds, answers are those of a model that reads from nothing. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import { groupAdaptedModules } from "../model/adapter/adapted-groups.ts";
import { LocalLora } from "../model/adapter/local-lora.ts";
import { CausalLm } from "../model/causal-lm.ts";
import { inputGroupsOf } from "../model/config-facts.ts";
import type { LoadOptions } from "../model/load-options.ts";
import type { DeltaSource } from "../model/delta-source.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { nodeTensorRuntime } from "../platform/node/tensors.ts";
import { type ChatMessage, type ChatTemplate, loadChatTemplate } from "../text/chat-template.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import type { Answer, AnswerEnd, AnswerOptions } from "./answer-stream.ts";
import { ChatSession, type ChatSessionOptions } from "./chat-session.ts";
import { generate, type SamplingOptions } from "./generate.ts";

const RUNS = process.env.SLOW ? 500 : 12;
const WORDS = ["battery", "tender", "cat", "a 😀 é", "bank", "water"];

let checkpoint: Awaited<ReturnType<typeof openCheckpoint>>;
let tokenizer: Tokenizer;
let lexicon: ChatTemplate;
let model: CausalLm;
const models: CausalLm[] = [];

const load = async (options: LoadOptions = {}) => {
  const loaded = await CausalLm.load(checkpoint, nodeTensorRuntime(), options);
  models.push(loaded);
  return loaded;
};

beforeAll(async () => {
  checkpoint = await openCheckpoint(nodeFileTree("models/lexicon/base"));
  tokenizer = await loadTokenizer(checkpoint);
  lexicon = await loadChatTemplate(checkpoint);
  model = await load();
});
afterAll(() => Promise.all(models.map((each) => each.dispose())));

/** With a system message; earlier answers are given as they are, or left out as templates do with thoughts. */
const withSystem = (forgetful: boolean): ChatTemplate => ({
  render: (messages) =>
    messages
      .map(({ role, content }, i) =>
        role === "assistant"
          ? `<|assistant|>${forgetful && i < messages.length - 2 ? "" : content}<|end|>`
          : `<|user|>${role === "system" ? `(${content})` : content}<|end|>`,
      )
      .join("") + "<|assistant|>",
});

function open(of: CausalLm, template: ChatTemplate, options: ChatSessionOptions = {}): ChatSession {
  return new ChatSession(of, { tokenizer, template }, options);
}

async function read(answer: Answer): Promise<AnswerEnd> {
  let text = "";
  for await (const piece of answer) text += piece.text;
  const end = await answer.end;
  expect(text).toBe(end.text);
  return end;
}

function promptOf(template: ChatTemplate, session: ChatSession): number[] {
  const { system, messages, droppedMessages } = session;
  const all = [...(system === undefined ? [] : [{ role: "system", content: system }]), ...messages];
  const kept = all.filter(
    (_, i) => i < all.length - messages.length || i >= all.length - messages.length + droppedMessages,
  );
  const last = kept.findLastIndex(({ role }) => role === "user");
  return tokenizer.encode(template.render(kept.slice(0, last + 1)), { addSpecialTokens: false });
}

/** What the model says when it reads the session's conversation, up to its last question, from nothing. */
async function fromNothing(
  template: ChatTemplate,
  session: ChatSession,
  maxNewTokens: number,
  sampling: SamplingOptions = {},
): Promise<number[]> {
  const ids: number[] = [];
  const options = { maxNewTokens, eosIds: tokenizer.eosIds, sampling };
  for await (const { id } of generate(model, promptOf(template, session), options)) ids.push(id);
  return ids;
}

describe("ChatSession", () => {
  it("gives the same ids as computing from nothing, for any conversation", async () => {
    const word = fc.constantFrom(...WORDS);
    const maxNewTokens = fc.integer({ min: 1, max: 8 });
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant("send"), word, maxNewTokens, abortAt: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("send"),
          word,
          maxNewTokens,
          abortAt: fc.integer({ min: 1, max: 4 }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant("retry"), word, maxNewTokens, abortAt: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant("system"), word, maxNewTokens, abortAt: fc.constant(0) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant("edit"), word, maxNewTokens, abortAt: fc.constant(0) }),
      },
    );
    const property = fc.asyncProperty(
      fc.array(step, { minLength: 2, maxLength: 5 }),
      fc.boolean(),
      async (steps, forgetful) => {
        const template = withSystem(forgetful);
        const session = open(model, template, { system: "short" });
        for (const { kind, word, maxNewTokens, abortAt } of steps) {
          if (kind === "system") session.setSystem(word);
          if (kind === "edit") session.setMessages(session.messages.slice(0, -2));
          const again = kind === "retry" && session.messages.length > 0;
          const controller = new AbortController();
          const options: AnswerOptions = { maxNewTokens, signal: controller.signal };
          const pieces = again ? session.retry(options) : session.send(word, options);
          const ids: number[] = [];
          for await (const { token } of pieces) {
            if (token !== undefined) ids.push(token.id);
            if (ids.length === abortAt) controller.abort();
          }
          const want = await fromNothing(template, session, maxNewTokens);
          expect(ids).toEqual(abortAt === 0 ? want : want.slice(0, abortAt));
        }
        session.dispose();
      },
    );
    await fc.assert(property, { numRuns: RUNS });
  });

  it("reads only what is new", async () => {
    const session = await ChatSession.open(model, checkpoint);
    const first = await read(session.send("battery", { maxNewTokens: 6 }));
    expect(first).toMatchObject({ reason: "length", cachedTokens: 0 });
    const second = await read(session.send("tender", { maxNewTokens: 6 }));
    // All of the first turn but its last token, which was not read; the template's end token follows.
    expect(second.cachedTokens).toBe(first.promptTokens + first.ids.length - 1);
    expect(second.ids).toEqual(await fromNothing(lexicon, session, 6));
    const again = await read(session.retry({ maxNewTokens: 6 }));
    expect(again.ids).toEqual(second.ids);
    expect(again.cachedTokens).toBe(again.promptTokens - 1);
    expect(session.messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant"]);
    session.reset();
    const anew = await read(session.send("battery", { maxNewTokens: 6 }));
    expect(anew.ids).toEqual(first.ids);
    expect(anew.cachedTokens).toBe(anew.promptTokens - 1);
  });

  it("ends before a stop string, and goes on from there", async () => {
    const session = await ChatSession.open(model, checkpoint);
    const full = (await read(session.send("battery", { maxNewTokens: 40 }))).text;
    const stop = full.slice(9, 14);
    const cut = await read(session.retry({ maxNewTokens: 40, stop: ["no such", stop] }));
    expect(cut).toMatchObject({ reason: "stop", stop, text: full.slice(0, full.indexOf(stop)) });
    expect(session.messages.at(-1)?.content).toBe(cut.text);
    const next = await read(session.send("cat", { maxNewTokens: 5 }));
    expect(next.cachedTokens).toBeGreaterThan(cut.promptTokens);
    expect(next.ids).toEqual(await fromNothing(lexicon, session, 5));
  });

  it("gives log-probabilities of the model itself, and honours penalties and seeds", async () => {
    const session = await ChatSession.open(model, checkpoint);
    await read(session.send("battery", { maxNewTokens: 12 }));
    const greedy = (await read(session.send("battery", { maxNewTokens: 12 }))).ids;
    // Knows the first answer, which is not read again.
    const sampling = { repetitionPenalty: 1.9 };
    const seen: number[] = [];
    for await (const { token } of session.retry({ maxNewTokens: 12, sampling, logprobs: 3 })) {
      if (token === undefined) continue;
      seen.push(token.id);
      expect(token.logprobs!.top).toHaveLength(3);
      expect(token.logprobs!.id).toBe(token.id);
      expect(token.logprobs!.logprob).toBeLessThanOrEqual(token.logprobs!.top[0].logprob);
    }
    expect(seen).not.toEqual(greedy);
    expect(seen).toEqual(await fromNothing(lexicon, session, 12, sampling));
    const drawn = () => read(session.retry({ maxNewTokens: 8, sampling: { temperature: 1.5, seed: 3 } }));
    expect((await drawn()).ids).toEqual((await drawn()).ids);
    await expect(session.retry({ sampling: { minP: 2 } }).end).rejects.toMatchObject({
      code: "bad_argument",
    });
    await expect(session.retry({ stop: [""] }).end).rejects.toMatchObject({ code: "bad_argument" });
  });

  it("keeps what was given out when a reader leaves, and takes back what was never answered", async () => {
    const session = await ChatSession.open(model, checkpoint);
    let first = "";
    for await (const { text } of session.send("battery", { maxNewTokens: 9 })) {
      first += text;
      if (first !== "") break;
    }
    expect(session.messages).toEqual([
      { role: "user", content: "battery" },
      { role: "assistant", content: first },
    ]);
    const stopped = AbortSignal.abort();
    expect(await read(session.send("lost", { signal: stopped }))).toMatchObject({
      reason: "aborted",
      ids: [],
    });
    expect(session.messages.at(-1)).toEqual({ role: "user", content: "lost" });
    const answer = await read(session.send("cat", { maxNewTokens: 4 }));
    expect(answer.ids).toEqual(await fromNothing(lexicon, session, 4));
    expect(session.messages.map(({ content }) => content)).toEqual(["battery", first, "cat", answer.text]);
  });

  it("gives one answer at a time, and none again where nothing was asked", async () => {
    const session = await ChatSession.open(model, checkpoint);
    await expect(session.retry().end).rejects.toMatchObject({ code: "bad_argument" });
    const running = session.send("cat", { maxNewTokens: 3 })[Symbol.asyncIterator]();
    await running.next();
    await expect(session.send("dog").end).rejects.toThrow(TypeError);
    expect(() => session.reset()).toThrow(TypeError);
    await running.return?.();
    expect(session.messages).toHaveLength(2);
  });
});

describe("a provider that is lost", () => {
  it("leaves a session that goes on as a new one would", async () => {
    const adapter = await openLoraAdapter(nodeFileTree("models/lexicon/law-adapter"));
    const groups = groupAdaptedModules(adapter.modules.values(), inputGroupsOf(checkpoint));
    const lora = new LocalLora({ ...adapter, groups });
    let failIn = Number.POSITIVE_INFINITY;
    const flaky: DeltaSource = {
      groups: lora.groups,
      begin(group, x, tokens) {
        const pending = lora.begin(group, x, tokens);
        if (failIn-- > 0) return pending;
        return { wait: () => Promise.reject(new TacetError("connection_lost", "gone")) };
      },
    };
    const session = await ChatSession.open(await load({ deltas: flaky }), checkpoint);
    const control = await ChatSession.open(await load({ deltas: lora }), checkpoint);
    const ask = async (text: string) => {
      const [got, want] = [
        await read(session.send(text, { maxNewTokens: 6 })),
        await read(control.send(text, { maxNewTokens: 6 })),
      ];
      expect(got.ids).toEqual(want.ids);
    };
    await ask("battery");
    for (const passes of [0.5, 2.5]) {
      failIn = Math.floor(passes * lora.groups.length);
      await expect(read(session.send("tender", { maxNewTokens: 6 }))).rejects.toMatchObject({
        code: "connection_lost",
      });
      failIn = Number.POSITIVE_INFINITY;
      const last = session.messages.at(-1);
      expect(last?.role).toBe(passes < 1 ? "user" : "assistant");
    }
    const again = await read(session.retry({ maxNewTokens: 6 }));
    control.setMessages(session.messages.slice(0, -2));
    expect((await read(control.send("tender", { maxNewTokens: 6 }))).ids).toEqual(again.ids);
    await ask("bank");
  });
});

describe("a conversation that outgrows the context", () => {
  const conversation: ChatMessage[] = WORDS.flatMap((content) => [
    { role: "user", content },
    { role: "assistant", content: `about ${content}` },
  ]);

  it("is refused by default, with the figures", async () => {
    const small = await load({ contextLength: 24 });
    const session = open(small, lexicon, { messages: conversation });
    await expect(session.send("bank").end).rejects.toMatchObject({
      code: "context_overflow",
      message: expect.stringMatching(/^the prompt has \d+ tokens, and the model's context 24$/),
    });
    session.reset();
    const { reason, promptTokens, ids } = await read(session.send("bank"));
    expect(["eos", "context"]).toContain(reason);
    if (reason === "context") expect(promptTokens + ids.length).toBe(25);
  });

  it("fills the context to its last token", async () => {
    const session = open(await load({ contextLength: 12 }), lexicon);
    const full = await read(session.send("battery"));
    expect(full.reason).toBe("context");
    expect(full.promptTokens + full.ids.length).toBe(13);
    expect((await read(session.retry({ maxNewTokens: 2 }))).reason).toBe("length");
    expect((await read(session.retry({ maxNewTokens: full.ids.length }))).reason).toBe("length");
  });

  it("loses an oldest turn that is refused before it is tokenized", async () => {
    const small = await load({ contextLength: 40 });
    const template = withSystem(false);
    const session = open(small, template, {
      messages: [
        { role: "user", content: "word ".repeat(20_000) },
        { role: "assistant", content: "yes" },
      ],
      overflow: "drop-oldest",
    });
    expect((await read(session.send("cat", { maxNewTokens: 3 }))).ids).toEqual(
      await fromNothing(template, session, 3),
    );
    expect(session.droppedMessages).toBe(2);
    await expect(session.send("word ".repeat(20_000)).end).rejects.toMatchObject({
      code: "context_overflow",
      message: expect.stringMatching(/at least/),
    });
  });

  it("hands its variables to the template", async () => {
    const template: ChatTemplate = {
      render: (messages, { variables } = {}) => lexicon.render(messages) + String(variables?.ending ?? ""),
    };
    const session = open(model, template, { templateVariables: { ending: "a" } });
    const { promptTokens } = await read(session.send("cat", { maxNewTokens: 1 }));
    expect(promptTokens).toBeGreaterThan(
      tokenizer.encode(lexicon.render([{ role: "user", content: "cat" }])).length,
    );
  });

  it("loses its oldest turns where that is wanted, never the system message or the last one", async () => {
    const small = await load({ contextLength: 40 });
    const template = withSystem(false);
    const dropped: number[] = [];
    const session = open(small, template, {
      system: "be brief",
      messages: conversation,
      overflow: "drop-oldest",
      onDropped: (messages) => dropped.push(messages),
    });
    for (const word of ["bank", "cat", "water", "tender"]) {
      const { ids, promptTokens } = await read(session.send(word, { maxNewTokens: 8 }));
      expect(promptTokens + 8).toBeLessThanOrEqual(41);
      expect(promptTokens).toBe(promptOf(template, session).length);
      expect(ids).toEqual(await fromNothing(template, session, 8));
    }
    expect(dropped.reduce((a, b) => a + b)).toBe(session.droppedMessages);
    expect(dropped.every((n) => n > 0 && n % 2 === 0)).toBe(true);
    expect(session.messages).toHaveLength(conversation.length + 8);

    await expect(session.send("battery ".repeat(60)).end).rejects.toMatchObject({
      code: "context_overflow",
    });
    expect((await read(session.send("cat", { maxNewTokens: 3 }))).ids).toEqual(
      await fromNothing(template, session, 3),
    );
  });
});
