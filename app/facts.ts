/** What the page is connected to. */
import { element } from "./element.ts";
import type { Ready, RunsOn, Settings } from "./messages.ts";

let kept = "Not yet";
let place = "–";

/** @param ready undefined: the provider has not been reached yet */
export function showFacts(settings: Settings, ready: Ready | undefined): void {
  list("facts", [
    ["Base model", settings.model.name],
    ["Runs on", place],
    ["Private adapter", ready?.adapter ?? "–"],
    ["Provider", settings.provider.map(nameOf).join(", ")],
    ["Offline", kept],
  ]);
  if (ready === undefined) return;
  element("technical").hidden = false;
  list("details", [
    ["Adapted layers", `${ready.layers}, ${ready.groups} queries a token`],
    ["Bundle (SHA-256)", `${ready.bundleDigest.slice(0, 16)}…`],
    ["Context", `${ready.contextLength.toLocaleString("en")} tokens`],
    [
      "Base model checked by",
      ready.baseStoredAs === undefined
        ? "its weights"
        : `its norms, biases and sizes: a quantized copy (${ready.baseStoredAs})`,
    ],
    ["To read your question", `2^${ready.userBits} steps, estimated`],
    ["Keys", `one for ${ready.tokensPerKey} tokens`],
    ["To read the adapter in its keys", `2^${ready.keyBits} steps, estimated`],
  ]);
}

/** Where the base model runs, and in which weights. */
export function showRunsOn({ device, threads, weights, gpu, without }: RunsOn): void {
  const bits = { original: "weights as published", int8: "8-bit weights", int4: "4-bit weights" }[weights];
  const cores = threads === 1 ? "one thread" : `${threads} threads`;
  const where = device === "webgpu" ? `GPU (WebGPU, ${gpu})` : `processor, ${cores}`;
  place = `${where}; ${bits}${without === undefined ? "" : `; not on the GPU: ${without}`}`;
  setFact("Runs on", place);
}

/** Whether the next visit needs no network for page and base model. */
export function showKept(all: boolean): void {
  kept = all ? "Kept in this browser" : "Not kept by this browser";
  setFact("Offline", kept);
}

function setFact(term: string, text: string): void {
  const shown = [...element("facts").children].find((row) => row.firstChild?.textContent === term);
  if (shown?.lastChild) shown.lastChild.textContent = text;
}

function nameOf(url: string): string {
  const { hostname, host } = new URL(url);
  return ["127.0.0.1", "localhost", "[::1]"].includes(hostname) ? `this machine (${host})` : host;
}

function list(id: string, facts: readonly (readonly [string, string])[]): void {
  element(id).replaceChildren(
    ...facts.map(([term, text]) => {
      const row = document.createElement("div");
      const name = document.createElement("dt");
      const value = document.createElement("dd");
      name.textContent = term;
      value.textContent = text;
      row.append(name, value);
      return row;
    }),
  );
}
