/** The package as a program imports it, and the examples as a reader runs them: against a provider process. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { complete, connect, TacetError, type TextClient } from "../../src/index-node.ts";
import { LEXICON, lexicon, lexiconEntries, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BASE = join(LEXICON, "base");
const textOf = (wanted: string) => lexiconEntries().find(({ word }) => word === wanted)!.adapter.text;
const folder = temporaryFolder();
let url: string;
let law: TextClient;

beforeAll(async () => {
  await (await lexicon()).writeState(folder.path, { name: "law" });
  ({ url } = await startProvider(folder.path));
  law = await connect({ base: BASE, provider: url, cache: false });
});
afterAll(async () => {
  await law?.close();
  await stopProviders();
  folder.remove();
});

describe("connect", () => {
  it("knows what it is connected to", () => {
    expect(law).toMatchObject({ adapter: "law", bundleDigest: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(law.budget).toBeUndefined();
    expect(law.contextLength).toBeGreaterThanOrEqual(128);
  });

  it("answers questions, conversations, text and ids, several at a time", async () => {
    const { prompt_ids } = lexiconEntries().find(({ word }) => word === "battery")!;
    const before = law.traffic.roundTrips;
    const answers = await Promise.all(
      [
        "battery",
        [{ role: "user", content: "battery" }],
        { text: "<|user|>battery<|end|><|assistant|>" },
        { ids: prompt_ids },
      ].map((prompt) => complete(law.generate(prompt))),
    );
    for (const { text, reason } of answers)
      expect({ text, reason }).toEqual({ text: textOf("battery"), reason: "eos" });
    expect(law.traffic.roundTrips).toBeGreaterThan(before);
  });

  it("keeps an answer apart from the wishes of another, and says what it does not like", async () => {
    const drawn = { sampling: { temperature: 1.5, seed: 5 }, maxNewTokens: 8 };
    const [one, two] = [
      await complete(law.generate("tender", drawn)),
      await complete(law.generate("tender", drawn)),
    ];
    expect(one.ids).toEqual(two.ids);
    expect((await complete(law.generate("tender"))).text).toBe(textOf("tender"));
    await expect(complete(law.generate("tender", { sampling: { topP: 2 } }))).rejects.toMatchObject({
      code: "bad_argument",
    });
    await expect(complete(law.generate([{ role: "tool", content: "x" }]))).rejects.toMatchObject({
      code: "bad_argument",
    });
    await expect(connect({ base: "nowhere", provider: url })).rejects.toMatchObject({ code: "io_failed" });
    await expect(connect({ base: { hub: "../etc" }, provider: url })).rejects.toMatchObject({
      code: "bad_argument",
    });
    await expect(connect({ base: BASE, provider: "ws://127.0.0.1:1" })).rejects.toBeInstanceOf(TacetError);
  });

  it("goes on with a conversation after its provider was lost, as if nothing had happened", async () => {
    const proxy = await switchableProxy(url);
    const client = await connect({ base: BASE, provider: proxy.url, cache: false, reconnectMs: 0 });
    const chat = await client.chat();
    expect((await complete(chat.send("battery"))).text).toBe(textOf("battery"));
    proxy.cut();
    await expect(complete(chat.send("tender"))).rejects.toMatchObject({ code: "connection_lost" });
    proxy.mend();
    const again = await complete(chat.retry({ maxNewTokens: 8 }));
    expect(again.cachedTokens).toBeGreaterThan(0);
    const fresh = await client.chat({ messages: chat.messages.slice(0, -2) });
    expect((await complete(fresh.send("tender", { maxNewTokens: 8 }))).ids).toEqual(again.ids);
    await client.close();
    proxy.close();
  });
});

describe("examples", () => {
  const run = async (name: string) => {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      [join(ROOT, "examples", name), url],
      {
        cwd: folder.path,
        env: { PATH: process.env.PATH, HOME: folder.path, XDG_CACHE_HOME: folder.path },
      },
    );
    expect(stderr).toBe("");
    return stdout.split("\n");
  };

  it("library.mjs", async () => {
    const lines = await run("library.mjs");
    expect(lines[0]).toBe(textOf("tender"));
    expect(lines[1].replace(/\d+/, "N")).toBe(`${textOf("battery").split(" of")[0]} [stop, N tokens read]`);
    expect(lines[2]).toMatch(/\[0 tokens from the cache\]$/);
    expect(lines[3]).toMatch(/\[[1-9]\d* tokens from the cache\]$/);
    expect(lines[4]).toMatch(/^law: \d+ queries, \d+ activation vectors$/);
  });

  it("abort.mjs", async () => {
    const lines = await run("abort.mjs");
    expect(textOf("tender").startsWith(lines[0].slice("broken off: ".length))).toBe(true);
    expect(lines[0].length).toBeGreaterThanOrEqual("broken off: ".length + 10);
    expect(lines[1]).toMatch(/^kept: ./);
    expect(lines[2]).toBe(`${textOf("tender")} [eos]`);
    expect(lines[3]).toMatch(/^context_overflow: the prompt has \d+ tokens/);
  });

  it.each(["library.mjs", "abort.mjs"])("%s stands in docs/library.md as it is", (name) => {
    const code = readFileSync(join(ROOT, "examples", name), "utf8");
    expect(readFileSync(join(ROOT, "docs/library.md"), "utf8")).toContain(`\`\`\`js\n${code}\`\`\`\n`);
  });
});

describe("the package's main entry", () => {
  const load = async (...flags: string[]) => {
    const script =
      'import("tacet").then((tacet) => console.log(Object.keys(tacet).join(), tacet.connect.length))';
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, "-e", script], { cwd: ROOT });
    return stdout.trim();
  };

  it("brings the platform along in Node, and takes one elsewhere", async () => {
    expect(await load()).toBe("TacetError,TextClient,complete,connect 1");
    expect(await load("--conditions=browser")).toBe("TacetError,TextClient,complete,connect 2");
  });
});

/** Passes bytes on, until it is cut: then it has no connections and refuses new ones. */
async function switchableProxy(target: string) {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let open = true;
  const server = createServer((client) => {
    if (!open) return client.destroy();
    const upstream = connectTcp(Number(port), hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ]) {
      sockets.add(from);
      from.on("error", () => {}).on("close", () => to.destroy());
      from.pipe(to);
    }
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `ws://127.0.0.1:${(server.address() as { port: number }).port}`,
    cut() {
      open = false;
      for (const socket of sockets) socket.destroy();
      sockets.clear();
    },
    mend() {
      open = true;
    },
    close() {
      this.cut();
      server.close();
    },
  };
}
