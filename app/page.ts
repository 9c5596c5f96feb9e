/** The page: shows what the worker does. It holds no key, and sends nothing anywhere but to the worker. */
import { headwordOf } from "../src/text/headword.ts";
import { element } from "./element.ts";
import { showFacts, showKept, showRunsOn } from "./facts.ts";
import { keepPage } from "./keep-page.ts";
import { askForKey } from "./key-dialog.ts";
import type { FromWorker, LinkState, Settings, ToWorker } from "./messages.ts";
import { hideNotice, showNotice } from "./notice.ts";
import { showDrafts, showSeen, showTimes } from "./panels.ts";
import { answerFailure, budgetLeft, keyReason, linkNotice, sentences } from "./sentences.ts";
import { type Question, Turns } from "./turns.ts";

const question = element<HTMLTextAreaElement>("question");
const form = element<HTMLFormElement>("form");
const send = element<HTMLButtonElement>("send");
const stop = element<HTMLButtonElement>("stop");
const clear = element<HTMLButtonElement>("clear");
const progress = element<HTMLProgressElement>("progress");
const turns = new Turns(element("log"), element("turns"), element("announce"), (asked) => ask(asked, true));

let worker: Worker | undefined;
let settings: Settings | undefined;
let link: LinkState = { state: "connecting" };
/** Whether this is a try after one that failed. */
let trying = false;
let canAsk = false;
let answering = false;

const reload = { label: "Reload", press: () => location.reload() };

void begin();

async function begin(): Promise<void> {
  try {
    settings = await fetchSettings();
  } catch {
    fatal("The program that serves this page does not answer. Start tacet web again, then reload.");
    return;
  }
  element<HTMLInputElement>("keep").checked = settings.dictionary === undefined;
  if (settings.dictionary) welcome(settings.dictionary.examples);
  showFacts(settings, undefined);
  worker = new Worker(new URL("./engine.ts", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => receive(data);
  worker.onerror = () => fatal("The part of this page that runs the model has stopped.");
  tell({ type: "start", settings, page: document.baseURI });
}

async function fetchSettings(): Promise<Settings> {
  const response = await fetch("./settings.json", { cache: "no-store" });
  if (!response.ok) throw new TypeError(`status ${response.status}`);
  return (await response.json()) as Settings;
}

function welcome(examples: readonly string[]): void {
  element("dictionary").hidden = false;
  question.placeholder = "One English word";
  element("examples").append(
    ...examples.map((word) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = word;
      button.onclick = () => askTyped(word);
      item.append(button);
      return item;
    }),
  );
}

function tell(message: ToWorker): void {
  worker?.postMessage(message);
}

function receive(message: FromWorker): void {
  switch (message.type) {
    case "progress":
      progress.hidden = message.fraction >= 1;
      progress.value = message.fraction;
      // Once the base model answers, what is still being made is no longer what the user waits for.
      if (!canAsk) setStatus(message.stage, "busy");
      break;
    case "base":
      canAsk = true;
      showRunsOn(message.runsOn);
      update();
      question.focus();
      if (settings) void keepPage(settings).then(showKept);
      break;
    case "link":
      linked(message.link);
      break;
    case "budget": {
      const shown = element("budget");
      shown.hidden = message.budget === undefined;
      if (message.budget) {
        shown.textContent = budgetLeft(message.budget);
        shown.classList.toggle("low", message.budget.left < message.budget.vectors / 10);
      }
      break;
    }
    case "begin":
      turns.begin(message.turn, message.side);
      break;
    case "text":
      turns.append(message.turn, message.side, message.text);
      break;
    case "done":
      turns.finish(message);
      if (message.side === "private") showDrafts(message);
      break;
    case "seen":
      showSeen(message.seen);
      break;
    case "times":
      showTimes(message.groups);
      break;
    case "failed":
      turns.fail(message.turn, message.side, answerFailure(message.failure));
      break;
    case "idle":
      answering = false;
      turns.rest();
      update();
      break;
    case "fatal":
      fatal(sentences(message.failure.message, message.failure.hint));
  }
}

function linked(now: LinkState): void {
  // One more try is no news, to screen readers least of all, until it succeeds.
  trying = now.state === "connecting" && (trying || link.state === "waiting");
  link = now;
  progress.hidden = true;
  update();
  switch (now.state) {
    case "ready":
      hideNotice();
      if (settings) showFacts(settings, now.ready);
      break;
    case "waiting":
      showNotice(linkNotice(now), { label: "Try now", press: () => tell({ type: "retry" }) });
      void lookForMove();
      break;
    case "refused":
      showNotice(linkNotice(now), { label: "Try again", press: () => tell({ type: "retry" }) });
      break;
    case "key":
      showNotice(linkNotice(now), { label: "Enter a key", press: () => void enterKey(now.refused) });
      void enterKey(now.refused);
  }
}

async function enterKey(refused: boolean): Promise<void> {
  const token = await askForKey(keyReason(refused), refused);
  if (token !== undefined) tell({ type: "key", token });
}

/** A page that stayed open while `tacet web` was started again may only connect to the earlier run's provider. */
async function lookForMove(): Promise<void> {
  const now = await fetchSettings().catch(() => undefined);
  if (now === undefined || JSON.stringify(now) === JSON.stringify(settings)) return;
  if (link.state !== "ready") {
    showNotice("Tacet has been started again, and its provider is at another address now.", reload);
  }
}

function fatal(text: string): void {
  progress.hidden = true;
  canAsk = false;
  update();
  setStatus("Stopped", "failed");
  showNotice(text, reload);
}

function setStatus(text: string, state: "busy" | "ready" | "partly" | "failed"): void {
  const status = element("status");
  if (status.textContent !== text) status.textContent = text;
  status.dataset.state = state;
}

function update(): void {
  send.disabled = !canAsk || answering;
  send.hidden = answering;
  stop.hidden = !answering;
  clear.disabled = !canAsk || answering || turns.isEmpty;
  element("welcome").hidden = !turns.isEmpty;
  if (!canAsk) return;
  if (answering) setStatus("Answering", "busy");
  else if (link.state === "ready") setStatus("Ready", "ready");
  else if (link.state === "connecting" && !trying) setStatus("Connecting to the provider", "busy");
  else setStatus("Base model only", "partly");
}

/** Asks what was typed; a dictionary is asked the word in it, and the page says so. */
function askTyped(typed: string): void {
  const asked = settings?.dictionary ? asWord(typed) : { typed, text: typed, note: "" };
  ask(asked, false);
}

function asWord(typed: string): Question {
  const { text, isOneWord } = headwordOf(typed);
  if (!isOneWord) {
    return { typed, text, note: "This model knows single words only: do not trust these answers." };
  }
  return { typed, text, note: text === typed ? "" : `Looked up as “${text}”.` };
}

function ask(asked: Question, again: boolean): void {
  if (!canAsk || answering) return;
  answering = true;
  showPanel(false);
  if (again) turns.removeLast();
  const turn = turns.add(asked);
  update();
  tell({
    type: "ask",
    turn,
    text: asked.text,
    again,
    options: {
      maxNewTokens: numberOf("tokens", 128),
      temperature: numberOf("temperature", 0),
      keepConversation: element<HTMLInputElement>("keep").checked,
    },
  });
}

form.onsubmit = (event) => {
  event.preventDefault();
  const typed = question.value.trim();
  if (typed === "" || send.disabled) return;
  question.value = "";
  askTyped(typed);
};

question.onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
};

const options = element<HTMLDetailsElement>("options");
document.onkeydown = (event) => {
  if (event.key !== "Escape") return;
  if (options.open) options.open = false;
  else if (answering) tell({ type: "stop" });
};
document.onpointerdown = ({ target }) => {
  if (!options.contains(target as Node | null)) options.open = false;
};
stop.onclick = () => tell({ type: "stop" });
clear.onclick = () => {
  turns.clear();
  tell({ type: "reset" });
  update();
  question.focus();
};
addEventListener("online", () => tell({ type: "retry" }));

const toggle = element<HTMLButtonElement>("panel-toggle");
toggle.onclick = () => showPanel(toggle.getAttribute("aria-expanded") !== "true");

/** Where the screen is too narrow for both, the panel stands in front of the conversation. */
function showPanel(shown: boolean): void {
  toggle.setAttribute("aria-expanded", String(shown));
  toggle.textContent = shown ? "Conversation" : "On the wire";
  document.body.classList.toggle("panel", shown);
}

/** The number in a field, or what stands for it where there is none, within the field's bounds. */
function numberOf(id: string, usual: number): number {
  const field = element<HTMLInputElement>(id);
  const value = field.value === "" ? usual : Number(field.value);
  return Number.isFinite(value) ? Math.min(Number(field.max), Math.max(Number(field.min), value)) : usual;
}
