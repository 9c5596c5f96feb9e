/** The package as a program imports it, and the examples as a reader runs them: against a provider process. */
import { execFile, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect, TacetError, type TextClient } from "../../src/entry/node.ts";
import { startFakeHub } from "../support/fake-hub.ts";
import { LEXICON, lexicon, lexiconEntries, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BASE = join(LEXICON, "base");
const textOf = (wanted: string) => lexiconEntries().find(({ word }) => word === wanted)!.adapter.text;
const filesOf = (dir: string) =>
  Object.fromEntries(readdirSync(dir).map((name) => [name, new Uint8Array(readFileSync(join(dir, name)))]));
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
      ].map((prompt) => law.generate(prompt).end),
    );
    for (const { text, reason } of answers)
      expect({ text, reason }).toEqual({ text: textOf("battery"), reason: "eos" });
    expect(law.traffic.roundTrips).toBeGreaterThan(before);
  });

  it("keeps an answer apart from the wishes of another, and says what it does not like", async () => {
    const drawn = { sampling: { temperature: 1.5, seed: 5 }, maxNewTokens: 8 };
    const [one, two] = [await law.generate("tender", drawn).end, await law.generate("tender", drawn).end];
    expect(one.ids).toEqual(two.ids);
    expect((await law.generate("tender").end).text).toBe(textOf("tender"));
    await expect(law.generate("tender", { sampling: { topP: 2 } }).end).rejects.toMatchObject({
      code: "bad_argument",
    });
    await expect(law.generate([{ role: "tool", content: "x" }]).end).rejects.toMatchObject({
      code: "bad_argument",
    });
    await expect(connect({ base: "nowhere", provider: url })).rejects.toMatchObject({ code: "io_failed" });
    await expect(connect({ base: { hub: "../etc" }, provider: url })).rejects.toMatchObject({
      code: "bad_argument",
    });
    await expect(connect({ base: BASE, provider: "ws://127.0.0.1:1" })).rejects.toBeInstanceOf(TacetError);
  });

  it("names what does not exist, is missing or stands elsewhere, and what was meant", async () => {
    const options = { base: BASE, provider: url, cache: false as const };
    const connecting = (given: unknown) => connect(given as Parameters<typeof connect>[0]);
    const asking = (given: unknown, prompt: unknown = "tender") =>
      law.generate(prompt as string, given as Parameters<typeof law.generate>[1]).end;
    const chat = await law.chat();
    for (const [failing, message, hint] of [
      [connecting({ ...options, adaptor: "law" }), 'connect has no option "adaptor"', "adapter"],
      [connecting({ ...options, temperature: 1 }), "temperature", "sampling.temperature of generate"],
      [connecting({ ...options, apiKey: "k" }), "apiKey", "did you mean token?"],
      [connecting({ base: BASE }), "connect needs provider", "provider: "],
      [connecting({ provider: url }), "connect needs base", "base: "],
      [connecting(undefined), "one object", "connect({"],
      [connecting({ ...options, provider: 8787 }), "provider of connect must be a URL", "ws://host:port"],
      [connecting({ ...options, threads: "two" }), "threads of connect must be a number", ""],
      [asking({ temperature: 1 }), 'an answer has no option "temperature"', "sampling.temperature"],
      [asking({ maxTokens: 8 }), "maxTokens", "maxNewTokens"],
      [asking({ max_new_tokens: 8 }), "max_new_tokens", "maxNewTokens"],
      [asking({ sampling: { topk: 5 } }), 'sampling has no option "topk"', "topK"],
      [asking({}, null), "the prompt is not one", "a list of messages"],
      [law.generate(undefined as unknown as string).end, "generate needs a prompt", "{ text }"],
      [chat.send("x", { maxLength: 1 } as object).end, "maxLength", "it has: "],
      [chat.send(undefined as unknown as string).end, "a message is text", "chat.send"],
      [law.chat({ systemPrompt: "x" } as object), "systemPrompt", "it has: "],
    ] as const) {
      const error = await failing.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(TacetError);
      const { code, message: said, hint: advice = "" } = error as TacetError;
      expect({ code, said, advice }).toEqual({
        code: "bad_argument",
        said: expect.stringContaining(message),
        advice: expect.stringContaining(hint),
      });
    }
  });

  it("takes a base as the commands do: a folder, or an id on the hub", async () => {
    await mkdir(join(folder.path, "org"), { recursive: true });
    const here = process.cwd();
    process.chdir(folder.path);
    try {
      await expect(connect({ base: "org/name", provider: url })).rejects.toMatchObject({
        code: "bad_argument",
        hint: "if it is meant as an id on the hub, write org/name@main",
      });
    } finally {
      process.chdir(here);
    }
    const hub = await startFakeHub("tacet/lexicon", filesOf(BASE));
    const { HF_ENDPOINT, HF_HUB_CACHE } = process.env;
    Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: join(folder.path, "hub") });
    try {
      const steps: number[] = [];
      const client = await connect({
        base: "tacet/lexicon@main",
        provider: url,
        cache: false,
        onDownloadProgress: (done, total) => steps.push(done / total),
      });
      expect(await client.generate("battery").text()).toBe(textOf("battery"));
      expect(steps.at(-1)).toBe(1);
      await client.close();
    } finally {
      restore({ HF_ENDPOINT, HF_HUB_CACHE });
      await hub.close();
    }
  });

  it("goes on with a conversation after its provider was lost, as if nothing had happened", async () => {
    const proxy = await switchableProxy(url);
    const client = await connect({ base: BASE, provider: proxy.url, cache: false, reconnectMs: 0 });
    const chat = await client.chat();
    expect((await chat.send("battery").end).text).toBe(textOf("battery"));
    proxy.cut();
    await expect(chat.send("tender").end).rejects.toMatchObject({ code: "connection_lost" });
    proxy.mend();
    const again = await chat.retry({ maxNewTokens: 8 }).end;
    expect(again.cachedTokens).toBeGreaterThan(0);
    const fresh = await client.chat({ messages: chat.messages.slice(0, -2) });
    expect((await fresh.send("tender", { maxNewTokens: 8 }).end).ids).toEqual(again.ids);
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

  it("provider.mjs: counts, and refuses what goes beyond the budget", async () => {
    const paths = [join(folder.path, "own-state"), join(folder.path, "own-data")];
    const child = spawn(process.execPath, [join(ROOT, "examples/provider.mjs"), ...paths, "0"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async () => String((await lines.next()).value);
    try {
      const own = (await next()).replace("listening on ", "");
      const token = (await next()).replace("key ", "");
      const client = await connect({ base: BASE, provider: own, cache: false, token });
      expect(client.budget).toEqual({ vectors: 150, windowSeconds: 86_400, left: 150 });
      expect(await client.generate("tender").text()).toBe(textOf("tender"));
      const left = client.budget!.left;
      expect(left).toBeLessThan(150);
      const asking = async () => {
        for (let i = 0; i < 150; i++) await client.generate("battery").end;
      };
      await expect(asking()).rejects.toMatchObject({ code: "budget_exhausted" });
      await client.close();
      await expect(connect({ base: BASE, provider: own, cache: false, token: "x" })).rejects.toMatchObject({
        code: "unauthorized",
      });
      child.kill("SIGTERM");
      expect(await next()).toMatch(/^[1-9]\d* queries, [1-9]\d* activation vectors charged$/);
    } finally {
      child.kill("SIGKILL");
    }
  });

  it.each(["library.mjs", "abort.mjs", "provider.mjs", "web/worker.js"])(
    "%s stands in docs/library.md as it is",
    (name) => {
      const code = readFileSync(join(ROOT, "examples", name), "utf8");
      expect(readFileSync(join(ROOT, "docs/library.md"), "utf8")).toContain(`\`\`\`js\n${code}\`\`\`\n`);
    },
  );
});

function restore(variables: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

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
