/** The conversation: each question with two answers beside each other. */
import { Follow } from "./follow.ts";
import type { FromWorker, Side } from "./messages.ts";

type Done = Extract<FromWorker, { type: "done" }>;

const TITLES: Readonly<Record<Side, string>> = {
  base: "Base model alone",
  private: "With the private adapter",
};

interface Answer {
  readonly card: HTMLElement;
  readonly text: HTMLElement;
  readonly measure: HTMLElement;
  readonly actions: HTMLElement;
}

interface Turn {
  readonly answers: Readonly<Record<Side, Answer>>;
  readonly foot: HTMLElement;
}

export interface Question {
  /** As it was typed. */
  readonly typed: string;
  /** As the model is asked. */
  readonly text: string;
  /** What the user should know about it; empty: nothing. */
  readonly note: string;
}

export class Turns {
  readonly #list: HTMLElement;
  readonly #announce: HTMLElement;
  readonly #follow: Follow;
  readonly #again: (question: Question) => void;
  #turns: Turn[] = [];

  /**
   * @param log what scrolls
   * @param again asks a question once more
   */
  constructor(
    log: HTMLElement,
    list: HTMLElement,
    announce: HTMLElement,
    again: (question: Question) => void,
  ) {
    this.#list = list;
    this.#announce = announce;
    this.#again = again;
    this.#follow = new Follow(log, list);
  }

  get isEmpty(): boolean {
    return this.#turns.length === 0;
  }

  /** @returns its number */
  add(question: Question): number {
    const turn = make("li", "turn");
    const asked = make("p", "asked");
    asked.textContent = question.typed;
    turn.append(asked);
    if (question.note !== "") {
      const note = make("p", "note");
      note.textContent = question.note;
      turn.append(note);
    }
    const pair = make("div", "pair");
    const answers = { base: answerCard("base"), private: answerCard("private") };
    pair.append(answers.base.card, answers.private.card);
    const foot = make("div", "foot");
    foot.append(button("Ask again", "Ask this question again", () => this.#again(question)));
    foot.hidden = true;
    turn.append(pair, foot);
    // Only the last question can be asked again: a conversation goes on from its end.
    const before = this.#turns.at(-1);
    if (before) before.foot.hidden = true;
    this.#list.append(turn);
    this.#follow.toEnd();
    return this.#turns.push({ answers, foot }) - 1;
  }

  /** What is asked again gets other answers instead of those that it has. */
  removeLast(): void {
    this.#turns.pop();
    this.#list.lastElementChild?.remove();
  }

  begin(turn: number, side: Side): void {
    const answer = this.#turns[turn]?.answers[side];
    if (answer) answer.card.dataset.state = "answering";
  }

  append(turn: number, side: Side, text: string): void {
    const answer = this.#turns[turn]?.answers[side];
    if (answer) answer.text.textContent += text;
  }

  finish({ turn, side, ids, milliseconds, reason }: Done): void {
    const answer = this.#turns[turn]?.answers[side];
    if (!answer) return;
    const ending = reason === "aborted" ? ", stopped" : reason === "eos" ? "" : ", cut off";
    const tokens = `${ids.length} ${ids.length === 1 ? "token" : "tokens"}`;
    answer.measure.textContent = `${tokens} in ${duration(milliseconds)}${ending}`;
    answer.card.dataset.ids = ids.join(",");
    settle(answer);
    if (answer.text.textContent !== "") answer.actions.append(copyButton(answer.text, TITLES[side]));
    // Once and whole: a screen reader that reads every token is of no use.
    this.#announce.textContent = `${TITLES[side]}: ${answer.text.textContent}`;
  }

  fail(turn: number, side: Side, sentence: string): void {
    const answer = this.#turns[turn]?.answers[side];
    if (!answer) return;
    settle(answer);
    const failure = make("p", "failure");
    failure.setAttribute("role", "alert");
    failure.textContent = sentence;
    answer.text.after(failure);
  }

  /** Nothing more will come. */
  rest(): void {
    const last = this.#turns.at(-1);
    if (!last) return;
    for (const answer of Object.values(last.answers)) {
      if (answer.card.hasAttribute("aria-busy")) answer.measure.textContent = "Not asked";
      settle(answer);
    }
    last.foot.hidden = false;
    this.#follow.update();
  }

  clear(): void {
    this.#turns = [];
    this.#list.replaceChildren();
    this.#announce.textContent = "";
  }
}

/** "80 ms", "2.4 s" */
function duration(milliseconds: number): string {
  return milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function settle({ card }: Answer): void {
  card.removeAttribute("aria-busy");
  delete card.dataset.state;
}

function answerCard(side: Side): Answer {
  const card = make("article", `answer ${side}`);
  card.setAttribute("aria-busy", "true");
  card.dataset.side = side;
  card.dataset.state = "waiting";
  const title = make("h3", "");
  title.textContent = TITLES[side];
  const text = make("p", "text");
  const dots = make("p", "dots");
  dots.setAttribute("aria-hidden", "true");
  dots.append(make("span", ""), make("span", ""), make("span", ""));
  const actions = make("div", "actions");
  const measure = make("span", "measure");
  actions.append(measure);
  card.append(title, text, dots, actions);
  return { card, text, measure, actions };
}

function copyButton(text: HTMLElement, title: string): HTMLElement {
  const copy = button("Copy", `Copy the answer: ${title}`, async () => {
    try {
      await navigator.clipboard.writeText(text.textContent?.trim() ?? "");
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Not allowed";
    }
    copy.onblur = () => (copy.textContent = "Copy");
  });
  return copy;
}

function button(label: string, description: string, press: () => void): HTMLElement {
  const made = make("button", "quiet") as HTMLButtonElement;
  made.type = "button";
  made.textContent = label;
  made.title = description;
  made.onclick = press;
  return made;
}

function make(name: string, className: string): HTMLElement {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  return made;
}
