/** `tacet chat` as its users run it: lines from a pipe, and keys on a terminal, which util-linux's `script` gives. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LEXICON, lexicon, lexiconEntries } from "../../test/support/models.ts";
import { startProvider, stopProviders } from "../../test/support/provider-process.ts";
import { parseLine } from "./chat/slash-commands.ts";

const MAIN = join(LEXICON, "../../dist/cli/main.js");
const LAW = join(LEXICON, "law-adapter");
const BATTERY = lexiconEntries().find(({ word }) => word === "battery")!.adapter.text;
const TENDER = lexiconEntries().find(({ word }) => word === "tender")!.adapter.text;
const PLAIN_TERMINAL = { NO_COLOR: "1", TERM: "xterm" };
/** Where readline moves its cursor. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it begins with one
const MOVES = /\u001b\[[\d;?]*[A-Za-z]/g;

/** As one line again. */
const unwrapped = (text: string) => text.replace(/\s*\r\n/g, " ");

let home: string;
let url: string;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "tacet-chat-"));
  await (await lexicon()).writeState(join(home, "state"), { name: "law" });
  ({ url } = await startProvider(join(home, "state")));
});
afterAll(async () => {
  for (const child of children) child.kill("SIGKILL");
  await stopProviders();
  rmSync(home, { recursive: true, force: true });
});

function start(command: string, args: readonly string[]): ChildProcess {
  const env = {
    PATH: process.env.PATH ?? "",
    HOME: home,
    XDG_CACHE_HOME: join(home, "cache"),
    ...PLAIN_TERMINAL,
  };
  const child = spawn(command, args, { cwd: home, env, stdio: ["pipe", "pipe", "pipe"] });
  children.add(child);
  child.once("close", () => children.delete(child));
  return child;
}

async function piped(input: string, ...args: string[]) {
  const child = start(process.execPath, [MAIN, "chat", ...args]);
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (data) => (stdout += data));
  child.stderr?.on("data", (data) => (stderr += data));
  child.stdin?.end(input);
  const code = await new Promise((resolve) => child.once("close", resolve));
  return { code, stdout, stderr };
}

/** A chat on a terminal: what is typed, and what the screen has shown since the last look. */
class Terminal {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  #screen = "";

  constructor(...args: string[]) {
    // As wide as a terminal usually is, and no wider.
    const size = "stty cols 60 rows 24; ";
    const quoted = [process.execPath, MAIN, "chat", ...args].map((word) => `'${word}'`).join(" ");
    this.child = start("script", ["-qec", size + quoted, "/dev/null"]);
    this.child.stdout
      ?.setEncoding("utf8")
      .on("data", (text: string) => (this.#screen = (this.#screen + text).replace(MOVES, "")));
    this.ended = new Promise((resolve) => this.child.once("close", resolve));
  }

  type(keys: string): void {
    this.child.stdin?.write(keys);
  }

  /** Waits for a text; gives and forgets all up to its end. */
  async see(pattern: RegExp): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.#screen);
      if (match !== null) {
        const end = match.index + match[0].length;
        const seen = this.#screen.slice(0, end);
        this.#screen = this.#screen.slice(end);
        return seen;
      }
      if (this.child.exitCode !== null)
        throw new Error(`it ended; the screen shows ${JSON.stringify(this.#screen)}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

describe("from a pipe", () => {
  it("answers a line a message, alone, with an adapter and privately, without anything else", async () => {
    const base = await piped("battery\n");
    expect(base).toMatchObject({ code: 0, stderr: "" });
    expect(base.stdout).not.toContain("law");
    for (const args of [
      ["--adapter", LAW],
      ["--provider", url],
    ]) {
      const { code, stdout, stderr } = await piped("battery\n\r\ntender", ...args, "--max-new-tokens", "40");
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout.split("\n")[0]).toBe(BATTERY);
      // The embedded dictionary takes each word by itself.
      expect(stdout.split("\n")[1]).toBe(TENDER);
      expect(stdout.split("\n")).toHaveLength(3);
    }
  });

  it("forgives the dictionary's users capital letters and marks, and tells what was looked up", async () => {
    const { code, stdout, stderr } = await piped("What is a Battery?\nTender\n", "--adapter", LAW);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: 'Looked up as "battery".\nLooked up as "tender".\n',
    });
    expect(stdout.split("\n")).toEqual([BATTERY, TENDER, ""]);
    expect((await piped("can I keep it\n")).stderr).toMatch(/^This model knows single words only/);
  });

  it("ends with an error where an answer fails", async () => {
    const refused = await piped("battery\n", "--system", "be brief");
    expect(refused).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/refuses the messages/),
    });
    expect(await piped("x\n", "--provider", "ws://127.0.0.1:1")).toMatchObject({ code: 5, stdout: "" });
  });
});

describe.skipIf(spawnSync("script", ["--version"]).status !== 0)("on a terminal", () => {
  it("streams, keeps a history, obeys its commands and says what an answer took", async () => {
    const chat = new Terminal("--provider", url);
    const greeting = await chat.see(/The adapter law is asked privately\. [^>]*\r\n> /);
    expect(unwrapped(greeting)).toMatch(/small dictionary: .* one English word .* such as tender/);
    chat.type("battery\r");
    const first = await chat.see(
      /\d+ tokens, [\d.]+\/s after [\d.]+ m?s; \d+ % for privacy; .* down(?:;\s+\d+\s+keys?,\s+[\d.]+\s+.B)?\r\n> /,
    );
    expect(unwrapped(first)).toContain(BATTERY);
    chat.type("/retry\r");
    expect(unwrapped(await chat.see(/down(?:;\s+\d+\s+keys?,\s+[\d.]+\s+.B)?\r\n> /))).toContain(BATTERY);
    chat.type("/reset\r");
    await chat.see(/begins anew[^>]*> /);
    // Up three times: /reset, /retry, battery.
    chat.type("\u001b[A\u001b[A\u001b[A\r");
    expect(unwrapped(await chat.see(/down(?:;\s+\d+\s+keys?,\s+[\d.]+\s+.B)?\r\n> /))).toContain(BATTERY);
    chat.type("/save talk.json\r");
    await chat.see(/2 messages are in talk\.json\.\r\n> /);
    expect(JSON.parse(readFileSync(join(home, "talk.json"), "utf8"))).toEqual({
      messages: [
        { role: "user", content: "battery" },
        { role: "assistant", content: BATTERY },
      ],
    });
    expect(statSync(join(home, "talk.json")).mode & 0o777).toBe(0o600);
    chat.type("/save talk.json\r");
    await chat.see(/error: talk\.json exists\r\nhint: [^\r]*\r\n> /);
    chat.type("/save nowhere/talk.json\r");
    await chat.see(/error: there is no folder nowhere\r\nhint: [^\r]*\r\n> /);
    expect(existsSync(join(home, "nowhere"))).toBe(false);
    chat.type("/frob\r");
    await chat.see(/error: there is no such command\r\nhint: [^>]*> /);
    chat.type("/help\r");
    await chat.see(/\/system TEXT [^>]*\/quit [^>]*> /);
    // Refused when it is set, not with the next message.
    chat.type("/system be brief\r");
    await chat.see(/error: .*refuses the messages.*\r\n(hint: .*\r\n)?> /);
    chat.type("/system\r");
    await chat.see(/no system message now\.\r\n> /);
    chat.type("/reset\r");
    await chat.see(/anew\.\r\n> /);
    chat.type("tender\r");
    expect(unwrapped(await chat.see(/down(?:;\s+\d+\s+keys?,\s+[\d.]+\s+.B)?\r\n> /))).toContain(TENDER);
    chat.type("/quit\r");
    expect(await chat.ended).toBe(0);
  });

  it("stops an answer with Ctrl-C, goes on with the conversation, and quits with a second one", async () => {
    // Hot enough never to end by itself within the test.
    const chat = new Terminal("--temperature", "20", "--seed", "1");
    await chat.see(/answers alone\. [^>]*\r\n> /);
    chat.type("battery\r");
    await chat.see(/battery[\r\n]+(.|[\r\n]){40}/);
    chat.type("\u0003");
    await chat.see(/\d+ tokens, .*; stopped\r\n> /);
    chat.type("half a li\u0003");
    chat.type("/save stopped.json\r");
    await chat.see(/2 messages are in stopped\.json\.\r\n> /);
    chat.type("\u0003");
    await chat.see(/Ctrl-C once more quits\.\r\n> /);
    chat.type("\u0003");
    expect(await chat.ended).toBe(130);
  });

  it("shows what was typed during an answer when its turn comes, and takes a paste as one message", async () => {
    const chat = new Terminal("--provider", url);
    await chat.see(/\r\n> /);
    chat.type("bail\r");
    await chat.see(/to set free/);
    chat.type("tender\r");
    await chat.see(/down(?:;\s+\d+\s+keys?,\s+[\d.]+\s+.B)?\r\n> tender\r\n\(law\) to offer in payment/);
    await chat.see(/down(?:;\s+\d+\s+keys?,\s+[\d.]+\s+.B)?\r\n> /);
    chat.type("\u001b[200~keep\nthe\ndeposit\u001b[201~");
    await chat.see(/deposit/);
    chat.type("\r");
    await chat.see(/single words only[^>]*down(?:;\s+\d+\s+keys?,\s+[\d.]+\s+.B)?\r\n> /);
    chat.type("/save paste.json\r");
    await chat.see(/2 messages are in paste\.json/);
    expect(JSON.parse(readFileSync(join(home, "paste.json"), "utf8")).messages[0].content).toBe(
      "keep the deposit",
    );
    // One that is given up is gone.
    chat.type("\u001b[200~one\ntwo\u001b[201~\u0003bail?\r");
    expect(unwrapped(await chat.see(/down(?:;\s+\d+\s+keys?,\s+[\d.]+\s+.B)?\r\n> /))).toContain(
      'Looked up as "bail". (law) to set free',
    );
    chat.type("\u0004");
    expect(await chat.ended).toBe(0);
  });

  it("breaks lines between words", async () => {
    const chat = new Terminal("--adapter", LAW);
    await chat.see(/\r\n> /);
    chat.type("tender\r");
    const answer = /\(law\)[^;]*/.exec(await chat.see(/\d+ tokens/))![0];
    expect(
      answer
        .replace(/\d+ tokens/, "")
        .trim()
        .split("\r\n"),
    ).toEqual([
      "(law) to offer in payment or satisfaction of a demand, in",
      "order to save a penalty or forfeiture",
    ]);
    chat.type("\u0004");
    expect(await chat.ended).toBe(0);
  });

  it("ends with Ctrl-D", async () => {
    const chat = new Terminal();
    await chat.see(/> /);
    chat.type("\u0004");
    expect(await chat.ended).toBe(0);
  });
});

describe("parseLine", () => {
  it.each([
    ["hello /x", { kind: "message", text: "hello /x" }],
    ["//etc", { kind: "message", text: "/etc" }],
    ["/quit ", { kind: "command", name: "quit", argument: "" }],
    ["/save a b.json", { kind: "command", name: "save", argument: "a b.json" }],
    ["/system", { kind: "command", name: "system", argument: "" }],
  ])("%s", (line, want) => {
    expect(parseLine(line)).toEqual(want);
  });

  it.each(["/", "/frob", "/toString", "/save", "/quit now"])("refuses %s", (line) => {
    expect(() => parseLine(line)).toThrow(expect.objectContaining({ code: "bad_argument" }));
  });
});
