/**
 * A chat template that is not trusted, because it came with a bundle.
 *
 * A template is a program that reads the conversation, and the provider sees how many tokens a prompt has. One that
 * writes a longer prompt where a message has a certain word would tell the provider that word. So such a template never
 * sees what is said: it is rendered with a mark for each message, and the messages are put where their marks are. What
 * a prompt has besides them depends on their number and roles alone.
 */

import { TacetError } from "../base/errors.ts";

interface Message {
  readonly role: string;
  readonly content: string;
}

/** A chat template, with whatever options it takes. */
interface Template<Options> {
  render(messages: readonly Message[], options?: Options): string;
}

/** Private-use characters, which no template writes by itself. */
const OPEN = "\ue8f0";
const CLOSE = "\ue8f1";
const MARK = /\ue8f0(\d+)\ue8f1/g;
/** White space beside a mark tells what the template takes off a message: all of it, line ends alone, or nothing. */
const LEFT = "\n\u2003";
const RIGHT = "\u2003\n";
/** What Python's str.strip() takes off, and with it Jinja's `trim`. */
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";

/** @returns a template whose output depends on messages only by having them in it */
export function insertingTemplate<Options>(inner: Template<Options>): Template<Options> {
  return {
    render(messages, options) {
      const marked = messages.map(({ role }, i): Message => ({ role, content: markOf(i) }));
      return insert(inner.render(marked, options), messages);
    },
  };
}

function markOf(i: number): string {
  return `${LEFT}${OPEN}${i}${CLOSE}${RIGHT}`;
}

/** @throws TacetError bad_bundle if a mark does not come out whole */
function insert(form: string, messages: readonly Message[]): string {
  let text = "";
  let from = 0;
  for (const match of form.matchAll(MARK)) {
    const message = messages[Number(match[1])];
    if (message === undefined) throw changed();
    const before = form.slice(from, match.index);
    const behind = form.slice(match.index + match[0].length);
    const { content } = message;
    const left = before.endsWith(LEFT) ? LEFT : before.endsWith(LEFT[1]) ? LEFT[1] : "";
    const right = behind.startsWith(RIGHT) ? RIGHT : behind.startsWith(RIGHT[0]) ? RIGHT[0] : "";
    text += before.slice(0, before.length - left.length);
    text += strip(content, left.length === 0 ? SPACE : left === LEFT ? "" : "\\n+", right);
    from = match.index + match[0].length + right.length;
  }
  const rest = form.slice(from);
  text += rest;
  if (form.replace(MARK, "").includes(OPEN) || form.replace(MARK, "").includes(CLOSE)) throw changed();
  return text;
}

function strip(content: string, atStart: string, right: string): string {
  const started = atStart === "" ? content : content.replace(new RegExp(`^${atStart}`), "");
  if (right === RIGHT) return started;
  return started.replace(new RegExp(`${right === "" ? SPACE : "\\n+"}$`), "");
}

function changed(): TacetError {
  return new TacetError("bad_bundle", "the adapter's chat template changes what messages say", {
    hint: "the provider must make the bundle again, with a template that puts messages in as they are",
  });
}
