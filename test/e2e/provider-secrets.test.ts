/**
 * What a provider says of a busy session: log at debug level, stdout, metrics, status. None of it holds the API key,
 * its account, the prompt, token ids, an activation in any form, a ciphertext, or weights. Each search has a control.
 */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { changeKeys } from "../../src/library/node-data-folder.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { createApiKey } from "../../src/provider/api-keys.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { decodeClientFrame } from "../../src/wire/frames.ts";
import { greedyIds, lexicon, lexiconEntries, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { readWebSocket, recordingProxy } from "../support/recording-proxy.ts";

const folder = temporaryFolder();
const [entry] = lexiconEntries();
const ACCOUNT = "account-of-nobody-7731";
const LABEL = "label-of-nobody-9942";
/** Name of a secret → forms that must not be found. */
const secrets: Record<string, string[]> = {};
let figures: string;
let said = "";

/** Bytes as text: hex, and base64 at each of its three places. */
function formsOfBytes(bytes: Uint8Array): string[] {
  const base64 = [0, 1, 2].map((skip) => Buffer.from(bytes.subarray(skip)).toString("base64").slice(0, 16));
  return [Buffer.from(bytes).toString("hex").slice(0, 24), [...bytes.subarray(0, 8)].join(","), ...base64];
}

beforeAll(async () => {
  const test = await lexicon();
  const [state, data] = [join(folder.path, "state"), join(folder.path, "data")];
  await test.writeState(state);
  const { key, record } = createApiKey(
    { account: ACCOUNT, label: LABEL, budget: { vectors: 60, windowSeconds: 0 } },
    Date.now(),
    systemRandom,
  );
  await changeKeys(data, () => [record]);
  const args = ["--data", data, "--log-level", "debug", "--metrics-port", "0"];
  const provider = await startProvider(state, { args });
  const status = String(/"type":"status","url":"([^"]+)"/.exec(provider.log())?.[1]);
  const proxy = await recordingProxy(provider.url);
  const model = await openPrivateModel(nodePlatform(), {
    base: test.checkpoint,
    provider: proxy.url,
    token: key,
  });
  const activations: number[] = [];
  const note = (x: Float32Array) =>
    activations.push(...x.filter((value) => Math.abs(value) > 1e-3).slice(0, 5));
  const begin = model.adapter.begin.bind(model.adapter);
  model.adapter.begin = (group, x, tokens) => {
    note(x);
    return begin(group, x, tokens);
  };
  const beginPair = model.adapter.beginPair.bind(model.adapter);
  model.adapter.beginPair = (first, second, tokens) => {
    note(first.x);
    note(second.x);
    return beginPair(first, second, tokens);
  };
  const ids = await greedyIds(model.model, entry.prompt_ids, { maxNewTokens: 4 });
  // A budget that ends, a key that is wrong, a client that talks nonsense: failures are said too.
  await greedyIds(model.model, Array(60).fill(entry.prompt_ids[0]), { maxNewTokens: 2 }).catch(() => {});
  const wrong = "tacet_wrong-key-5550";
  const open = openPrivateModel(nodePlatform(), { base: test.checkpoint, provider: proxy.url, token: wrong });
  await expect(open).rejects.toMatchObject({ code: "unauthorized" });
  const metrics = await (await fetch(`${status}/metrics`)).text();
  const ready = await (await fetch(`${status}/readyz`)).text();
  await model.close();
  await provider.kill("SIGTERM");
  const up = readWebSocket(proxy.recordings()[0].up).messages;
  const ciphertexts = up.flatMap((message) => {
    const frame = decodeClientFrame(new Uint8Array(message), 64 << 20);
    return frame.case === "query" ? [frame.value.ciphertext] : [];
  });
  await proxy.close();
  said = [provider.log(), provider.out(), metrics, ready].join("\n");
  figures = [provider.out(), metrics, ready].join("\n");

  const prompt = [...entry.prompt_ids];
  secrets.key = [key, key.slice(-20), record.hash, record.hash.slice(0, 16), wrong, LABEL];
  secrets.text = [entry.word, entry.adapter.text.slice(0, 12), entry.adapter.text.slice(12, 24)];
  secrets.ids = [prompt, ids, [...prompt, ...ids]].flatMap((list) => [list.join(","), list.join(", ")]);
  secrets.activations = activations.flatMap((value) => {
    const [f32, f64] = [Float32Array.of(value), Float64Array.of(value)];
    const bytes = [f32, f64].map(({ buffer }) => Buffer.from(buffer).toString("hex"));
    return [String(value), value.toFixed(7), value.toPrecision(7), value.toExponential(6), ...bytes];
  });
  secrets.activationBytes = formsOfBytes(new Uint8Array(Float32Array.from(activations).buffer));
  secrets.ciphertexts = ciphertexts.flatMap(formsOfBytes);
  expect(activations.length).toBeGreaterThan(50);
  expect(ciphertexts.length).toBeGreaterThan(5);
}, 60_000);
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

it("says what happened", () => {
  for (const type of [
    "settings",
    "connected",
    "welcomed",
    "charged",
    "answered",
    "failed",
    "refused",
    "closed",
  ])
    expect(said).toContain(`"type":"${type}"`);
  expect(said).toMatch(/tacet_refusals_total\{code="unauthorized"\} 1/);
  expect(said).toMatch(/tacet_charged_vectors_total\{adapter="[\w-]+"\} [1-9]/);
});

it("names an account, as its operator does, in the log alone", () => {
  const types = said.split("\n").flatMap((line) => (line.includes(ACCOUNT) ? JSON.parse(line).type : []));
  expect(new Set(types)).toEqual(new Set(["welcomed", "failed"]));
  expect(figures).not.toContain(ACCOUNT);
});

it("and nothing of keys, text, ids, activations or ciphertexts", () => {
  const found = Object.entries(secrets).flatMap(([name, forms]) =>
    forms.filter((form) => said.toLowerCase().includes(form.toLowerCase())).map((form) => `${name}: ${form}`),
  );
  expect(found).toEqual([]);
});

it("(control) every form is long enough to be told from chance, and found where it is planted", () => {
  for (const form of Object.values(secrets).flat()) {
    expect(form.length).toBeGreaterThanOrEqual(6);
    expect(`${said}x${form}y`.toLowerCase()).toContain(form.toLowerCase());
  }
});
