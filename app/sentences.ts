/** Failures and figures in sentences for a page: capital letter, full stop, no unit that only this project knows. */
import type { BudgetLeft, Failure, LinkState } from "./messages.ts";

/** Of the private answer that did not come. */
export function answerFailure({ code, message, hint }: Failure): string {
  switch (code) {
    case "connection_failed":
    case "connection_lost":
    case "timed_out":
    case "shutting_down":
      return "The provider does not answer. Ask again when it is back.";
    case "unavailable":
      return "The provider cannot answer at the moment. Ask again in a while.";
    case "too_many_requests":
      return "The provider takes fewer questions at a time. Ask again in a while.";
    case "unauthorized":
      return "The provider answers only with a valid key.";
    case "budget_exhausted":
      return sentences("Not enough is left of your key's budget", hint);
    case "context_overflow":
      return sentences(
        "The question and its answer are longer than the model can hold",
        "Ask something shorter",
      );
    case "aborted":
      return "Stopped.";
    default:
      return sentences(message, hint);
  }
}

/** Of the connection, for the notice over the question. */
export function linkNotice(link: LinkState): string {
  switch (link.state) {
    case "waiting": {
      const seconds = Math.round(link.retryMs / 1000);
      const when = `Next try in ${seconds} ${seconds === 1 ? "second" : "seconds"}.`;
      return `${passing(link.failure.code)} The base model can be asked meanwhile. ${when}`;
    }
    case "key":
      return `${keyReason(link.refused)} Without one only the base model answers.`;
    case "refused":
      return sentences(link.failure.message, link.failure.hint, "The base model can still be asked");
    default:
      return "";
  }
}

export function keyReason(refused: boolean): string {
  return refused ? "The provider does not accept this key." : "The provider asks for a key.";
}

function passing(code: string): string {
  if (code === "unavailable") return "The provider cannot answer at the moment.";
  if (code === "too_many_requests") return "The provider takes fewer questions at a time.";
  return navigator.onLine ? "The provider does not answer." : "This device is offline.";
}

/** "4,987 of 5,000 tokens a day are left." A budget counts vectors: one for each token that is read or written. */
export function budgetLeft({ left, vectors, windowSeconds }: BudgetLeft): string {
  const count = (n: number): string => n.toLocaleString("en");
  return `${count(left)} of ${count(vectors)} tokens${windowName(windowSeconds)} are left.`;
}

function windowName(seconds: number): string {
  const names: Readonly<Record<number, string>> = {
    0: "",
    60: " a minute",
    3600: " an hour",
    86400: " a day",
    604800: " a week",
  };
  return names[seconds] ?? ` in ${seconds.toLocaleString("en")} seconds`;
}

/** 2026-01-31T00:00:00.000Z, as a peer writes it. */
const INSTANT = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g;

/** Fragments as sentences, instants as the user's clock shows them; empty ones are left out. */
export function sentences(...parts: readonly string[]): string {
  return parts
    .map((part) => part.trim().replace(INSTANT, localTime))
    .filter((part) => part !== "")
    .map((part) => part[0].toUpperCase() + part.slice(1) + (/[.!?…]$/u.test(part) ? "" : "."))
    .join(" ");
}

function localTime(instant: string): string {
  return new Date(instant).toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short" });
}
