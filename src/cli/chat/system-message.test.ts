import { expect, it } from "vitest";
import { TacetError } from "../../base/errors.ts";
import type { ChatMessage, ChatTemplate } from "../../text/chat-template.ts";
import { systemCheck } from "./system-message.ts";

const template = (render: (messages: readonly ChatMessage[]) => string): ChatTemplate => ({ render });
const all = (messages: readonly ChatMessage[]) => messages.map(({ content }) => content).join("|");

it("takes what the template shows, and refuses what it refuses or leaves out", () => {
  expect(() => systemCheck(template(all))("be brief")).not.toThrow();
  const leavesOut = template((messages) => all(messages.filter(({ role }) => role === "user")));
  expect(() => systemCheck(leavesOut)("be brief")).toThrow(/leaves out system messages/);
  const refuses = template((messages) => {
    if (messages.some(({ role }) => role === "system")) throw new TacetError("bad_argument", "refuses");
    return all(messages);
  });
  expect(() => systemCheck(refuses)("be brief")).toThrow("refuses");
});
