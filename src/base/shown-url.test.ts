import { expect, it } from "vitest";
import { connectSocket as connectInNode } from "../platform/node/sockets/socket.ts";
import { connectSocket as connectInPage } from "../platform/web/socket.ts";
import { shownUrl } from "./shown-url.ts";

it.each([
  ["wss://law.example/v1", "wss://law.example/v1"],
  ["wss://me:hunter2@law.example/v1?key=hunter2#hunter2", "wss://law.example/v1"],
  ["ws://hunter2@[::1]:8787", "ws://[::1]:8787"],
  ["wss://me:hunt@er2@law.example/a@b", "wss://law.example/a@b"],
  ["me:hunter2@law.example", "law.example"],
  ["127.0.0.1:8787", "127.0.0.1:8787"],
])("of %s is %s", (url, shown) => {
  expect(shownUrl(url)).toBe(shown);
});

it.each([
  ["Node", connectInNode, "ws://me:hunter2@127.0.0.1:9/x?key=hunter2"],
  ["Node", connectInNode, "wss://me:hunter2@127.0.0.1:9/"],
  ["Node", connectInNode, "wss://me:hunter2@127.0.0.1:99999/"],
  ["a page", connectInPage, "wss://me:hunter2@127.0.0.1:99999/"],
])("is all that an error says in %s (%#)", async (_, connect, url) => {
  const error = await connect(url).catch((reason: unknown) => reason as Error & { hint?: string });
  expect(error).toMatchObject({ name: "TacetError" });
  const { message, hint } = error as Error & { hint?: string };
  expect(message).toContain("127.0.0.1");
  expect(`${message} ${hint}`).not.toContain("hunter2");
});
