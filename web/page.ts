/** The page: shows what the worker does. It holds no key, and sends nothing anywhere but to the worker. */
import type { FromWorker, Ready, Settings, ToWorker } from "./messages.ts";
import { showSeen, showTimes } from "./panels.ts";
import { Turns } from "./turns.ts";

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const question = element<HTMLTextAreaElement>("question");
const buttons = {
  send: element<HTMLButtonElement>("send"),
  stop: element<HTMLButtonElement>("stop"),
  clear: element<HTMLButtonElement>("clear"),
};
const status = element("status");
const progress = element<HTMLProgressElement>("progress");
const turns = new Turns(element("turns"), element("announce"));

let worker: Worker | undefined;
let settings: Settings | undefined;

void begin();

async function begin(): Promise<void> {
  try {
    settings = (await (await fetch("./settings.json")).json()) as Settings;
  } catch {
    return fail("The program that serves this page does not answer", "Start tacet web again, then reload.");
  }
  element<HTMLInputElement>("keep").checked = settings.conversation;
  start(settings, "");
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("./service-worker.js").catch(() => {});
}

/** A new worker: what an earlier one held is gone with it. */
function start(given: Settings, token: string): void {
  worker?.terminate();
  worker = new Worker(new URL("./engine.ts", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => receive(data);
  worker.onerror = () => fail("The page's worker stopped", "Reload the page.");
  tell({ type: "start", settings: given, token, page: document.baseURI });
}

function tell(message: ToWorker): void {
  worker?.postMessage(message);
}

function receive(message: FromWorker): void {
  switch (message.type) {
    case "progress":
      progress.hidden = false;
      progress.value = message.fraction;
      setStatus(message.stage);
      break;
    case "ready":
      progress.hidden = true;
      setStatus("Ready");
      showFacts(message.ready);
      setBusy(false);
      question.focus();
      break;
    case "text":
      turns.append(message.turn, message.side, message.text);
      break;
    case "done":
      turns.finish(message);
      if (message.side === "private" || message.reason === "aborted") setBusy(message.side === "base");
      if (message.side === "private") setStatus("Ready");
      break;
    case "seen":
      showSeen(message.seen);
      break;
    case "times":
      showTimes(message.groups);
      break;
    case "failed":
      failed(message);
  }
}

function failed({ turn, message, hint, code }: Extract<FromWorker, { type: "failed" }>): void {
  if (turn !== undefined) {
    turns.fail(turn, message, hint);
    setBusy(false);
    setStatus("Ready");
  } else if (code === "unauthorized") askForKey();
  else fail(message, hint);
}

function fail(message: string, hint: string): void {
  progress.hidden = true;
  status.classList.add("failed");
  setStatus(`${message}. ${hint}`);
}

/** A key that a provider asks for goes to the worker and is kept nowhere. */
function askForKey(): void {
  progress.hidden = true;
  setStatus("The provider asks for a key");
  const dialog = element<HTMLDialogElement>("key-dialog");
  const key = element<HTMLInputElement>("key");
  dialog.onclose = () => {
    const token = key.value;
    key.value = "";
    if (dialog.returnValue === "connect" && settings) start(settings, token);
    else fail("Without a key the provider does not answer", "Reload the page to try again.");
  };
  dialog.showModal();
}

function setStatus(text: string): void {
  if (status.textContent !== text) status.textContent = text;
}

function setBusy(busy: boolean): void {
  question.disabled = false;
  buttons.send.disabled = busy;
  buttons.clear.disabled = busy;
  buttons.stop.disabled = !busy;
}

element<HTMLFormElement>("form").onsubmit = (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (text === "" || buttons.send.disabled) return;
  question.value = "";
  setBusy(true);
  setStatus("Answering");
  tell({
    type: "ask",
    turn: turns.add(text),
    text,
    options: {
      maxNewTokens: numberOf("tokens", 128),
      temperature: numberOf("temperature", 0),
      keepConversation: element<HTMLInputElement>("keep").checked,
    },
  });
};

question.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  element<HTMLFormElement>("form").requestSubmit();
};

document.onkeydown = (event) => {
  if (event.key === "Escape" && !buttons.stop.disabled) tell({ type: "stop" });
};
buttons.stop.onclick = () => tell({ type: "stop" });
buttons.clear.onclick = () => {
  turns.clear();
  tell({ type: "reset" });
  question.focus();
};

/** The number in a field, or what stands for it where there is none, within the field's bounds. */
function numberOf(id: string, usual: number): number {
  const field = element<HTMLInputElement>(id);
  const value = field.value === "" ? usual : Number(field.value);
  return Number.isFinite(value) ? Math.min(Number(field.max), Math.max(Number(field.min), value)) : usual;
}

function showFacts(ready: Ready): void {
  const facts: readonly (readonly [string, string])[] = [
    ["Base model", settings?.model.name ?? ""],
    ["Private adapter", ready.adapter],
    ["Provider", settings?.provider.join(", ") ?? ""],
    ["Adapted layers", `${ready.layers}, ${ready.groups} queries a token`],
    ["Bundle", `${ready.bundleDigest.slice(0, 16)}…`],
    ["Your question", `2^${ready.userBits} steps to read, estimated`],
    ["The adapter's hint", `2^${ready.hintBits} steps to read, estimated`],
  ];
  element("facts").replaceChildren(
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
