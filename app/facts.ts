/** What the page is connected to. */
import { element } from "./element.ts";
import type { Ready, Settings } from "./messages.ts";

let kept = "Not yet";

/** @param ready undefined: the provider has not been reached yet */
export function showFacts(settings: Settings, ready: Ready | undefined): void {
  list("facts", [
    ["Base model", settings.model.name],
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
    ["To read your question", `2^${ready.userBits} steps, estimated`],
    ["Keys", `one for ${ready.tokensPerKey} tokens`],
    ["To read the adapter in its keys", `2^${ready.keyBits} steps, estimated`],
  ]);
}

/** Whether the next visit needs no network for page and base model. */
export function showKept(all: boolean): void {
  kept = all ? "Kept in this browser" : "Not kept by this browser";
  const shown = [...element("facts").children].find((row) => row.firstChild?.textContent === "Offline");
  if (shown?.lastChild) shown.lastChild.textContent = kept;
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
