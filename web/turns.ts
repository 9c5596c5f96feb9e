/** The conversation: each question with two answers beside each other. */
import type { FromWorker, Side } from "./messages.ts";

type Done = Extract<FromWorker, { type: "done" }>;

const TITLES: Readonly<Record<Side, string>> = {
  base: "Base model alone",
  private: "With the private adapter, encrypted",
};

interface Answer {
  readonly card: HTMLElement;
  readonly text: HTMLElement;
  readonly measure: HTMLElement;
}

export class Turns {
  readonly #list: HTMLElement;
  readonly #announce: HTMLElement;
  #answers: Record<Side, Answer>[] = [];

  constructor(list: HTMLElement, announce: HTMLElement) {
    this.#list = list;
    this.#announce = announce;
  }

  /** @returns its number */
  add(question: string): number {
    const turn = make("li", "turn");
    const asked = make("p", "asked");
    asked.textContent = question;
    const pair = make("div", "pair");
    const answers = { base: answerCard("base"), private: answerCard("private") };
    pair.append(answers.base.card, answers.private.card);
    turn.append(asked, pair);
    this.#list.append(turn);
    turn.scrollIntoView({ block: "nearest" });
    return this.#answers.push(answers) - 1;
  }

  append(turn: number, side: Side, text: string): void {
    const answer = this.#answers[turn]?.[side];
    if (answer) answer.text.textContent += text;
  }

  finish({ turn, side, ids, milliseconds, reason }: Done): void {
    const answer = this.#answers[turn]?.[side];
    if (!answer) return;
    const seconds = milliseconds / 1000;
    const ending = reason === "aborted" ? ", stopped" : reason === "eos" ? "" : ", cut off";
    answer.measure.textContent = `${ids.length} tokens in ${seconds.toFixed(2)} s${ending}`;
    answer.card.dataset.ids = ids.join(",");
    answer.card.removeAttribute("aria-busy");
    // Once and whole: a screen reader that reads every token is of no use.
    this.#announce.textContent = `${TITLES[side]}: ${answer.text.textContent}`;
  }

  fail(turn: number, message: string, hint: string): void {
    const { base, private: other } = this.#answers[turn];
    const open = base.card.hasAttribute("aria-busy") ? base : other;
    for (const { card } of [base, other]) card.removeAttribute("aria-busy");
    const failure = make("p", "failure");
    failure.setAttribute("role", "alert");
    failure.textContent = hint === "" ? message : `${message}. ${hint}`;
    open.card.append(failure);
  }

  clear(): void {
    this.#answers = [];
    this.#list.replaceChildren();
    this.#announce.textContent = "";
  }
}

function answerCard(side: Side): Answer {
  const card = make("article", `answer ${side}`);
  card.setAttribute("aria-busy", "true");
  card.dataset.side = side;
  const title = make("h3", "");
  title.textContent = TITLES[side];
  const text = make("p", "text");
  const measure = make("p", "measure");
  card.append(title, text, measure);
  return { card, text, measure };
}

function make(name: string, className: string): HTMLElement {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  return made;
}
