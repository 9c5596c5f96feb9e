/** The messages of a chat request as the chat template takes them. */

import type { ChatMessage } from "../text/chat-template.ts";
import { badField } from "./api-error.ts";
import { isObject, type JsonObject } from "./fields.ts";

/** "developer" is OpenAI's newer name of "system"; templates know the older one. */
const ROLES: Readonly<Record<string, string>> = {
  system: "system",
  developer: "system",
  user: "user",
  assistant: "assistant",
};

/** @throws ApiError for what a text model cannot be given: tool calls, images, unknown roles or fields */
export function parseMessages(value: unknown): readonly ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw badField("messages", "messages must be a list of at least one message");
  }
  return value.map((message, i) => parseMessage(message, `messages[${i}]`));
}

function parseMessage(message: unknown, at: string): ChatMessage {
  if (!isObject(message)) throw badField(at, `${at} must be an object with role and content`);
  const { role } = message;
  if (role === "tool" || role === "function") throw badField(`${at}.role`, "tools are not supported here");
  if (typeof role !== "string" || !Object.hasOwn(ROLES, role)) {
    throw badField(`${at}.role`, `${at}.role must be one of ${Object.keys(ROLES).join(", ")}`);
  }
  refuseExtras(message, at);
  return { role: ROLES[role], content: parseContent(message.content, `${at}.content`) };
}

/** An answer may be sent back as it came, with fields that are empty; one that says something is not passed over. */
function refuseExtras(message: JsonObject, at: string): void {
  for (const [name, value] of Object.entries(message)) {
    if (name === "role" || name === "content" || value === null) continue;
    if (Array.isArray(value) && value.length === 0) continue;
    const param = `${at}.${name.slice(0, 64)}`;
    throw badField(param, `${param} is not supported here`, "unsupported_parameter");
  }
}

function parseContent(content: unknown, at: string): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content) || content.length === 0) {
    throw badField(at, `${at} must be a text or a list of text parts`);
  }
  return content
    .map((part, i) => {
      if (isObject(part) && part.type === "text" && typeof part.text === "string") return part.text;
      throw badField(`${at}[${i}]`, `${at}[${i}] is not a text part: only text is supported here`);
    })
    .join("");
}
