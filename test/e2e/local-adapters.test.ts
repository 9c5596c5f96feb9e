/**
 * Adapters that are here: in one graph for the commands; for `tacet serve` on one base in memory with a provider's, and
 * with the base alone.
 */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openLocal } from "../../src/cli/shared/source.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { editSafetensors } from "../support/edit-safetensors.ts";
import { type EndpointProcess, startEndpoint, stopEndpoints } from "../support/endpoint-process.ts";
import {
  greedyIds,
  LEXICON,
  lexicon,
  lexiconEntries,
  openTestModel,
  temporaryFolder,
} from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { runTacet } from "../support/tacet-process.ts";

const BASE = join(LEXICON, "base");
const LAW = join(LEXICON, "law-adapter");
const WORDS = lexiconEntries()
  .filter(({ kind }) => kind === "law")
  .sort((a, b) => a.adapter.ids.length - b.adapter.ids.length)
  .slice(0, 4);

const folder = temporaryFolder();
const keys = join(folder.path, "keys");
let endpoint: EndpointProcess;
let openai: OpenAI;
/** What the model of keys and values alone answers to a word, cut where it is asked for. */
const answers = new Map<string, string>();

beforeAll(async () => {
  const law = await lexicon();
  await law.writeState(join(folder.path, "state"), { name: "law" });
  const provider = await startProvider(join(folder.path, "state"));
  // A second adapter: keys and values of the first.
  cpSync(LAW, keys, { recursive: true });
  const file = join(keys, "adapter_model.safetensors");
  const edited = editSafetensors(new Uint8Array(readFileSync(file)), (all) => {
    all.tensors = all.tensors.filter(({ name }) => /\.[kv]_proj\./.test(name));
  });
  writeFileSync(file, edited);
  const cut = await (await openTestModel(BASE, keys)).plaintext();
  const tokenizer = await loadTokenizer(law.checkpoint);
  for (const { word, prompt_ids } of WORDS)
    answers.set(word, tokenizer.detokenize(await greedyIds(cut, prompt_ids)));
  await cut.dispose();
  endpoint = await startEndpoint(
    ...["--base", BASE, "--adapter", `here=${LAW}`, "--adapter", keys, "--serve-base"],
    ...["--model", `far=${provider.url}#law`, "--reconnect-seconds", "0"],
  );
  openai = new OpenAI({ baseURL: endpoint.url, apiKey: "any", maxRetries: 0 });
});
afterAll(async () => {
  await stopEndpoints();
  await stopProviders();
  folder.remove();
});

async function ask(model: string, word: string): Promise<string | null> {
  const chat = await openai.chat.completions.create({ model, messages: [{ role: "user", content: word }] });
  return chat.choices[0].message.content;
}

it("is what generate, chat and logits run, without a cut", async () => {
  const law = await lexicon();
  const { signal } = new AbortController();
  const { kind, model, close } = await openLocal(law.checkpoint, { adapter: LAW }, signal);
  const [{ prompt_ids, adapter }] = WORDS;
  expect(await greedyIds(model, prompt_ids)).toEqual(adapter.ids);
  const { sessionRuns, forwards, exchanges } = model.timings;
  expect({ kind, sessionRuns, exchanges }).toEqual({
    kind: "plaintext-adapter",
    sessionRuns: forwards,
    exchanges: 0,
  });
  await close();
});

it("lists them beside the provider's, under their names", async () => {
  const models = [];
  for await (const { id, owned_by } of openai.models.list()) models.push([id, owned_by]);
  expect(models).toEqual([
    ["far", "provider"],
    ["here", "local"],
    ["keys", "local"],
    ["base", "local"],
  ]);
});

it("answers all at once, each as if it were alone", async () => {
  const asked = ["far", "here", "keys", "base"].flatMap((model) =>
    WORDS.map(({ word, adapter }) => ({ model, word, law: adapter.text })),
  );
  const texts = await Promise.all(asked.map(({ model, word }) => ask(model, word)));
  for (const [i, { model, word, law }] of asked.entries()) {
    if (model === "far" || model === "here") expect(texts[i]).toBe(law);
    else if (model === "keys") expect(texts[i]).toBe(answers.get(word));
    else expect(texts[i]).not.toContain("(law)");
  }
});

it("needs no provider, and refuses one name for two", async () => {
  const alone = await startEndpoint("--adapter", LAW);
  const client = new OpenAI({ baseURL: alone.url, apiKey: "any", maxRetries: 0 });
  const chat = await client.chat.completions.create({
    model: "law-adapter",
    messages: [{ role: "user", content: WORDS[0].word }],
  });
  expect(chat.choices[0].message.content).toBe(WORDS[0].adapter.text);
  expect(await alone.stop()).toBe(0);
  const twice = await runTacet(["serve", "--port", "0", "--adapter", `base=${LAW}`, "--serve-base"]);
  expect(twice).toMatchObject({ code: 2, stderr: expect.stringContaining(`called "base"`) });
});
