/**
 * A client whose queries are all refused, at a provider in a process of its own: it is cut off, writes no log to speak
 * of, and another key is answered meanwhile.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { changeKeys } from "../../src/library/node-data-folder.ts";
import { nodeFileTree } from "../../src/platform/node.ts";
import { createApiKey } from "../../src/provider/api-keys.ts";
import { loadServedAdapter } from "../../src/provider/provider.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { decodeProviderFrame, encodeClientFrame, PROTOCOL_VERSION } from "../../src/wire/frames.ts";
import { temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { tinyBundle } from "../support/tiny-bundle.ts";

const folder = temporaryFolder();
const [state, data] = [join(folder.path, "state"), join(folder.path, "data")];
const QUERIES = 60_000;
const A_CONNECTION = 3_000;

afterAll(async () => {
  await stopProviders();
  folder.remove();
});

/** A key that no account has. */
const NO_KEY = new Uint8Array(16);

/** Says Hello, asks for a key and sends queries under it; resolves when the connection is closed, or has answered as often as is wanted. */
function ask(
  url: string,
  token: string,
  queriesUnder: (keyId: Uint8Array) => Iterable<Uint8Array>,
  answers = Number.POSITIVE_INFINITY,
) {
  return new Promise<{ heard: string[]; sent: number }>((resolve) => {
    const socket = new WebSocket(url);
    const heard: string[] = [];
    let sent = 0;
    const end = () => resolve({ heard, sent });
    socket.on("error", () => {});
    socket.on("close", end);
    socket.on("open", () => {
      const hello = { version: PROTOCOL_VERSION, token, baseFingerprint: new Uint8Array(32).fill(0x5a) };
      socket.send(encodeClientFrame({ case: "hello", value: hello }));
    });
    socket.on("message", (message: Buffer) => {
      const frame = decodeProviderFrame(new Uint8Array(message), 1 << 20);
      heard.push(frame.case);
      if (frame.case === "welcome") socket.send(encodeClientFrame({ case: "fetchKey", value: { id: 1 } }));
      // Whoever floods gets no more keys after some, and floods all the same.
      const keyId =
        frame.case === "keyMade" ? frame.value.keyId : frame.case === "failure" ? NO_KEY : undefined;
      if (keyId !== undefined && sent === 0) {
        for (const query of queriesUnder(keyId)) {
          socket.send(query);
          sent += query.length;
        }
      }
      if (heard.filter((name) => name === "answer").length === answers) socket.close();
    });
  });
}

it("is cut off, and others are answered", { timeout: 60_000 }, async () => {
  const made = await tinyBundle();
  mkdirSync(state);
  writeFileSync(join(state, "bundle.safetensors"), made.bundle);
  writeFileSync(join(state, "private.safetensors"), made.privateState);
  const { layers } = await loadServedAdapter(nodeFileTree(state));
  const [hostile, honest] = [0, 1].map(() => createApiKey({ budget: null }, Date.now(), systemRandom));
  await changeKeys(data, () => [hostile.record, honest.record]);
  const provider = await startProvider(state, { args: ["--data", data] });

  const refused = Array.from({ length: A_CONNECTION }, (_, i) =>
    encodeClientFrame({
      case: "query",
      value: { id: i + 1, group: 0, vectors: 1, ciphertext: new Uint8Array(4) },
    }),
  );
  const calm = (keyId: Uint8Array) =>
    Array.from({ length: 50 }, (_, i) => {
      const ciphertext = crypto.getRandomValues(new Uint8Array(layers[0].queryBytes));
      const value = { id: i + 1, group: 0, vectors: 1, ciphertext, keyId };
      return encodeClientFrame({ case: "query", value });
    });
  let sent = 0;
  let failures = 0;
  const flood = async () => {
    for (let i = 0; i < QUERIES / A_CONNECTION; i++) {
      const outcome = await ask(provider.url, hostile.key, () => refused);
      sent += outcome.sent;
      failures += outcome.heard.filter((name) => name === "failure").length;
    }
  };
  const answered = async () => {
    for (let i = 0; i < 4; i++) {
      const { heard } = await ask(provider.url, honest.key, calm, 50);
      expect(heard.filter((name) => name === "answer")).toHaveLength(50);
    }
  };
  await Promise.all([flood(), answered()]);
  expect(failures).toBeLessThan(6_000);
  await provider.kill("SIGTERM");
  expect(provider.log()).toContain('"more":');
  expect(provider.log().length).toBeLessThan(30_000);
  expect(provider.log().length).toBeLessThan(sent / 4);
});
