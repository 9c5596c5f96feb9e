import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { COMMIT, digestOf, type FakeHub, startFakeHub } from "../../../../test/support/fake-hub.ts";
import { utf8 } from "../../../base/bytes.ts";
import { type DownloadOptions, downloadFromHub } from "./download.ts";
import { parseHubId } from "./names.ts";
import { readHubSettings } from "./settings.ts";

const WEIGHTS = Uint8Array.from({ length: 300_000 }, (_, i) => (i * i * 31) >> 3);
const FILES = {
  "config.json": utf8('{"model_type":"llama"}'),
  "tokenizer.json": utf8("{}".padEnd(2000)),
  "model.safetensors": WEIGHTS,
  "pytorch_model.bin": new Uint8Array(5000),
  "README.md": utf8("text"),
};
const ID = { repo: "org/name", revision: "main" };
const TOKEN = "hf_secret";

let hub: FakeHub;
let cacheDir: string;

beforeEach(async () => {
  hub = await startFakeHub("org/name", { ...FILES });
  cacheDir = mkdtempSync(join(tmpdir(), "tacet-hub-"));
});
afterEach(async () => {
  await hub.close();
  rmSync(cacheDir, { recursive: true, force: true });
});

const settings = (more = {}) => ({
  endpoint: hub.endpoint,
  cacheDir,
  offline: false,
  token: undefined,
  ...more,
});
const fetchModel = (id = ID, options: DownloadOptions = {}, kind: "base" | "adapter" = "base") =>
  downloadFromHub(id, kind, { settings: settings(), retryMs: 1, ...options });
const repoDir = () => join(cacheDir, "models--org--name");
const blob = (bytes: Uint8Array) => join(repoDir(), "blobs", digestOf(bytes));
const sentTo = (server: "hub" | "cdn") => hub.seen.filter((request) => request.server === server);

describe("downloadFromHub", () => {
  it("lays files out as huggingface_hub does, and only those that are needed", async () => {
    const progress: number[][] = [];
    const folder = await fetchModel(ID, { onProgress: (...step) => progress.push(step) });
    expect(folder).toBe(join(repoDir(), "snapshots", COMMIT));
    expect(digestOf(readFileSync(join(folder, "model.safetensors")))).toBe(digestOf(WEIGHTS));
    expect(readlinkSync(join(folder, "model.safetensors"))).toBe(`../../blobs/${digestOf(WEIGHTS)}`);
    expect(readlinkSync(join(folder, "config.json"))).toBe(`../../blobs/${digestOf(FILES["config.json"])}`);
    expect(readFileSync(join(repoDir(), "refs/main"), "utf8")).toBe(COMMIT);
    expect(hub.seen.some(({ path }) => /pytorch|README/.test(path))).toBe(false);
    expect(progress.at(-1)).toEqual([WEIGHTS.length, WEIGHTS.length]);
  });

  it("asks for nothing that is there: a branch once, a commit never", async () => {
    await fetchModel();
    hub.seen.length = 0;
    await fetchModel();
    expect(hub.seen.map(({ path }) => path)).toEqual(["/api/models/org/name/revision/main?blobs=true"]);
    hub.seen.length = 0;
    await fetchModel({ ...ID, revision: COMMIT });
    expect(hub.seen).toEqual([]);
  });

  it("sends the token to the hub and not to where the hub redirects; no message has it", async () => {
    await fetchModel(ID, { settings: settings({ token: TOKEN }) });
    expect(sentTo("hub").every(({ authorization }) => authorization === `Bearer ${TOKEN}`)).toBe(true);
    expect(sentTo("cdn").length).toBeGreaterThan(0);
    expect(sentTo("cdn").every(({ authorization }) => authorization === undefined)).toBe(true);
    hub.fault = (_, response) => !!response.writeHead(401, { "x-error-code": "GatedRepo" }).end();
    const error = await fetchModel(ID, { settings: settings({ token: TOKEN }) }).catch((error) => error);
    expect(error).toMatchObject({ code: "io_failed", hint: expect.stringMatching(/gated/) });
    expect(JSON.stringify([error.message, error.hint, error.stack])).not.toContain(TOKEN);
  });

  it("goes on where a connection was cut, in one run and over two", async () => {
    let cuts = 0;
    hub.fault = ({ server, path }, response, bytes) => {
      if (server !== "cdn" || !path.startsWith("/model") || cuts++ > 0 || !bytes) return false;
      response.writeHead(200, { "content-length": bytes.length });
      response.write(bytes.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 20));
      return true;
    };
    await fetchModel();
    const range = sentTo("cdn").at(-1)?.range;
    expect(Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1])).toBeGreaterThan(0);

    rmSync(repoDir(), { recursive: true });
    mkdirSync(join(repoDir(), "blobs"), { recursive: true });
    writeFileSync(`${blob(WEIGHTS)}.incomplete`, WEIGHTS.subarray(0, 123_456));
    hub.fault = () => false;
    const folder = await fetchModel();
    expect(sentTo("cdn").at(-1)?.range).toBe("bytes=123456-");
    expect(digestOf(readFileSync(join(folder, "model.safetensors")))).toBe(digestOf(WEIGHTS));
  });

  it("begins anew where the part is wrong, or the server does not know ranges", async () => {
    mkdirSync(join(repoDir(), "blobs"), { recursive: true });
    const part = `${blob(WEIGHTS)}.incomplete`;
    writeFileSync(part, new Uint8Array(1000));
    await fetchModel();
    expect(sentTo("cdn").map(({ range }) => range)).toContain("bytes=1000-");
    expect(digestOf(readFileSync(blob(WEIGHTS)))).toBe(digestOf(WEIGHTS));

    rmSync(blob(WEIGHTS));
    writeFileSync(part, WEIGHTS.subarray(0, 1000));
    hub.fault = ({ server }, response, bytes) => server === "cdn" && !!response.end(bytes);
    await fetchModel();
    expect(digestOf(readFileSync(blob(WEIGHTS)))).toBe(digestOf(WEIGHTS));
  });

  it("never gives out wrong bytes", async () => {
    const wrong = WEIGHTS.slice();
    wrong[7] ^= 1;
    hub.fault = ({ server, path }, response) =>
      server === "cdn" && path.startsWith("/model") && !!response.end(wrong);
    await expect(fetchModel()).rejects.toMatchObject({
      code: "io_failed",
      message: expect.stringMatching(/model.safetensors arrives with other bytes/),
    });
    expect(() => readFileSync(blob(WEIGHTS))).toThrow();
    hub.fault = ({ server }, response) =>
      server === "cdn" && !!response.end(new Uint8Array(WEIGHTS.length + 1));
    await expect(fetchModel()).rejects.toThrow(/longer than the hub lists it/);
    hub.fault = ({ server, path }, response) =>
      server === "hub" &&
      path.includes("model.safe") &&
      !!response.writeHead(200, { etag: `"${"0".repeat(64)}"` }).end();
    await expect(fetchModel()).rejects.toThrow(/another on the hub than its list says/);
  });

  it("waits as the server asks, and goes on after its faults", async () => {
    let faults = 0;
    hub.fault = (_, response) =>
      faults++ < 2 && !!response.writeHead(faults === 1 ? 429 : 503, { "retry-after": "0" }).end();
    await fetchModel();
    hub.fault = (_, response) => !!response.writeHead(500).end();
    await expect(fetchModel(ID, { tries: 3 })).rejects.toMatchObject({
      code: "io_failed",
      message: expect.stringMatching(/answers 500, after 3 tries/),
    });
  });

  it("says what is wrong: no model, no revision, no access, pickles only, an answer that is none", async () => {
    await expect(fetchModel({ repo: "org/other", revision: "main" })).rejects.toMatchObject({
      message: expect.stringMatching(/there is no model org\/other@main \(404\)/),
      hint: expect.stringMatching(/check the id/),
    });
    hub.fault = (_, response) => !!response.writeHead(401, { "x-error-code": "RepoNotFound" }).end();
    await expect(fetchModel()).rejects.toMatchObject({ hint: expect.stringMatching(/needs HF_TOKEN/) });
    hub.fault = () => false;
    const { "model.safetensors": _, ...rest } = FILES;
    hub.files = rest;
    await expect(fetchModel()).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(/only pickled weights/),
    });
    await expect(fetchModel(ID, {}, "adapter")).rejects.toMatchObject({ code: "bad_adapter" });
    hub.fault = (_, response) => !!response.end("<html>");
    await expect(fetchModel()).rejects.toThrow(/does not answer as a hub does/);
    hub.fault = (_, response) => !!response.writeHead(302, { location: hub.endpoint }).end();
    await expect(fetchModel()).rejects.toThrow(/without end/);
    hub.fault = (_, response) => !!response.writeHead(302, { location: "file:///etc/passwd" }).end();
    await expect(fetchModel()).rejects.toThrow(/not safe/);
  });

  it("fetches an adapter's own tokenizer files and templates, also where the cache has its weights alone", async () => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    const weights = { "adapter_config.json": bytes("{}"), "adapter_model.safetensors": bytes("w") };
    hub.files = weights;
    const commit = { ...ID, revision: COMMIT };
    const folder = await fetchModel(commit, {}, "adapter");
    const text = {
      "tokenizer_config.json": bytes('{"eos_token": "<|im_end|>"}'),
      "chat_template.jinja": bytes("t"),
      "additional_chat_templates/default.jinja": bytes("n"),
      "added_tokens.json": bytes("{}"),
    };
    hub.files = { ...weights, ...text, "README.md": bytes("r") };
    expect(await fetchModel(commit, {}, "adapter")).toBe(folder);
    for (const [name, content] of Object.entries(text))
      expect(new Uint8Array(readFileSync(join(folder, name)))).toEqual(content);
    expect(existsSync(join(folder, "README.md"))).toBe(false);
  });

  it("without a network: from the cache, or an error that says what was tried", async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
    const endpoint = `http://127.0.0.1:${(closed.address() as AddressInfo).port}`;
    await new Promise((resolve) => closed.close(resolve));
    const nowhere = settings({ endpoint });
    await expect(fetchModel(ID, { settings: nowhere })).rejects.toMatchObject({
      code: "connection_failed",
      message: expect.stringMatching(/127\.0\.0\.1:\d+ does not answer \(ECONNREFUSED\), after 3 tries/),
      hint: expect.stringMatching(/HF_ENDPOINT/),
    });
    const offline = settings({ endpoint, offline: true });
    await expect(fetchModel(ID, { settings: offline })).rejects.toMatchObject({
      hint: expect.stringMatching(/HF_HUB_OFFLINE/),
    });
    const folder = await fetchModel();
    const warnings: string[] = [];
    expect(await fetchModel(ID, { settings: nowhere, onWarning: (text) => warnings.push(text) })).toBe(
      folder,
    );
    expect(warnings).toEqual([
      expect.stringMatching(/^cannot reach .*; using the cached copy of org\/name$/),
    ]);
    expect(await fetchModel(ID, { settings: offline })).toBe(folder);
  });

  it("follows an index of shards, and nothing that it names elsewhere", async () => {
    const index = (map: Record<string, unknown>) => utf8(JSON.stringify({ weight_map: map }));
    const shards = { "model-1.safetensors": WEIGHTS, "model-2.safetensors": WEIGHTS.slice(5) };
    const { "model.safetensors": _, ...rest } = FILES;
    hub.files = {
      ...rest,
      ...shards,
      "model.safetensors.index.json": index({ a: "model-1.safetensors", b: "model-2.safetensors" }),
    };
    const folder = await fetchModel();
    expect(readFileSync(join(folder, "model-2.safetensors")).length).toBe(WEIGHTS.length - 5);
    hub.seen.length = 0;
    expect(await fetchModel({ ...ID, revision: COMMIT })).toBe(folder);
    expect(hub.seen).toEqual([]);
    for (const name of ["../x.safetensors", "/etc/x.safetensors", "model-3.safetensors", "x.bin", 7]) {
      rmSync(repoDir(), { recursive: true });
      hub.files = { ...hub.files, "model.safetensors.index.json": index({ a: name }) };
      await expect(fetchModel()).rejects.toMatchObject({ code: "bad_checkpoint" });
    }
  });

  it("does not trust the listing", async () => {
    for (const lie of [
      { blobId: "../../x" },
      { size: -1 },
      { blobId: 7 },
      { rfilename: "../config.json" },
      null,
    ]) {
      hub.siblings = (list) =>
        list.map((entry) => (entry.rfilename === "config.json" ? lie && { ...entry, ...lie } : entry));
      await expect(fetchModel()).rejects.toMatchObject({ code: "bad_checkpoint" });
    }
    hub.siblings = () => "none";
    await expect(fetchModel()).rejects.toThrow(/does not answer as a hub does/);
  });

  it("refuses what has no room before it begins", async () => {
    hub.siblings = (list) =>
      list.map((entry) =>
        entry.rfilename === "model.safetensors"
          ? { ...entry, lfs: { sha256: digestOf(WEIGHTS), size: 2 ** 52 } }
          : entry,
      );
    await expect(fetchModel()).rejects.toThrow(/needs 4503599628 MB more/);
  });

  // Writing to this device always finds it full; only Linux has it.
  it.skipIf(!existsSync("/dev/full"))("says so when the disk fills up", async () => {
    mkdirSync(join(repoDir(), "blobs"), { recursive: true });
    symlinkSync("/dev/full", `${blob(WEIGHTS)}.incomplete`);
    await expect(fetchModel()).rejects.toMatchObject({
      code: "io_failed",
      message: expect.stringMatching(/the disk is full: model.safetensors/),
      hint: expect.stringMatching(/is kept/),
    });
  });

  it("two at once fetch each file once", async () => {
    await Promise.all([fetchModel(), fetchModel()]);
    expect(sentTo("cdn").filter(({ path }) => path.startsWith("/model"))).toHaveLength(1);
  });

  it("stops when it is told to, and keeps the part", async () => {
    const stop = new AbortController();
    hub.fault = ({ server, path }, response, bytes) => {
      if (server !== "cdn" || !path.startsWith("/model") || !bytes) return false;
      response.write(bytes.subarray(0, 50_000));
      setTimeout(() => stop.abort(new Error("enough")), 50);
      return true;
    };
    await expect(fetchModel(ID, { signal: stop.signal })).rejects.toThrow(/enough/);
    expect(readFileSync(`${blob(WEIGHTS)}.incomplete`).length).toBe(50_000);
  });
});

describe("names and settings", () => {
  it("takes ids of the hub and nothing that leads elsewhere", () => {
    expect(parseHubId("Qwen/Qwen2.5-0.5B")).toEqual({ repo: "Qwen/Qwen2.5-0.5B", revision: "main" });
    expect(parseHubId("a/b@refs/pr/1")).toEqual({ repo: "a/b", revision: "refs/pr/1" });
    for (const text of "a|a/b/c|../b|a/..|./b|a/.b|a--b/c|/b|a/|a/b@|a/b@../c|a/b@/c|a/b@c/../d|a b/c|a/b@-x|a/b?c|".split(
      "|",
    ))
      expect(parseHubId(text)).toBeUndefined();
    fc.assert(
      fc.property(fc.string(), fc.string(), (left, right) => {
        const id = parseHubId(`${left}/${right}`);
        if (id)
          expect(join("/cache", id.repo.replace("/", "--"), "refs", id.revision)).toMatch(
            /^\/cache\/[\w.-]+--[\w.-]+\/refs\//,
          );
      }),
    );
  });

  it("finds cache, endpoint and token as huggingface_hub does", async () => {
    const home = mkdtempSync(join(cacheDir, "home-"));
    writeFileSync(join(home, "token"), "from-file\n");
    expect(await readHubSettings({ HF_HOME: home })).toEqual({
      endpoint: "https://huggingface.co",
      cacheDir: join(home, "hub"),
      offline: false,
      token: "from-file",
    });
    expect(
      await readHubSettings({
        HF_HOME: home,
        HF_HUB_CACHE: "/c",
        HF_TOKEN: "x",
        HF_ENDPOINT: "http://h/m/",
        HF_HUB_OFFLINE: "1",
      }),
    ).toEqual({ endpoint: "http://h/m", cacheDir: "/c", offline: true, token: "x" });
    for (const endpoint of ["huggingface.co", "file:///x", "https://u:p@h"])
      await expect(readHubSettings({ HF_ENDPOINT: endpoint })).rejects.toMatchObject({
        code: "bad_argument",
      });
  });

  it("a token does not travel unencrypted off this machine", async () => {
    const { mayCarryToken } = await import("./settings.ts");
    expect(
      ["https://a.b/", "http://127.0.0.1:9/", "http://localhost/"].every((url) =>
        mayCarryToken(new URL(url)),
      ),
    ).toBe(true);
    expect(mayCarryToken(new URL("http://mirror.example/"))).toBe(false);
  });
});
