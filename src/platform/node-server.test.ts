/** Sockets in Node: what passes, what is refused, and that both ends always come to an end. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { MessageSocket } from "../base/platform.ts";
import { nodeBundleCache } from "./node-bundle-cache.ts";
import { type SocketServer, serveSockets } from "./node-server.ts";
import { connectSocket } from "./node-socket.ts";

const LIMIT = 1 << 16;
const servers: SocketServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close(20)));
});

async function serve(onConnection: (socket: MessageSocket) => void): Promise<SocketServer> {
  const server = await serveSockets({ host: "127.0.0.1", port: 0, maxMessageBytes: LIMIT, onConnection });
  servers.push(server);
  return server;
}

const echo = (socket: MessageSocket) => {
  socket.onMessage = (message) => socket.send(message);
};
const closeOf = (socket: MessageSocket) =>
  new Promise<number>((resolve) => {
    socket.onClose = (code) => resolve(code);
  });

describe("sockets", () => {
  it("carry messages in order, as plain bytes, up to the limit", async () => {
    const socket = await connectSocket((await serve(echo)).url);
    const sent = [0, 1, 2, 125, 126, 65535, LIMIT].map((length, i) => new Uint8Array(length).fill(i));
    const got = await new Promise<Uint8Array[]>((resolve) => {
      const messages: Uint8Array[] = [];
      socket.onMessage = (message) => {
        messages.push(message);
        if (messages.length === sent.length) resolve(messages);
      };
      for (const message of sent) socket.send(message);
    });
    expect(got.map((message) => message.constructor)).toEqual(sent.map(() => Uint8Array));
    expect(got).toEqual(sent);
    socket.close(1000, "");
    expect(await closeOf(socket)).toBe(1000);
  });

  it("refuse messages over the limit, and text", async () => {
    const { url } = await serve(echo);
    const large = await connectSocket(url);
    large.send(new Uint8Array(2 * LIMIT));
    expect(await closeOf(large)).toBe(1009);
    const text = new WebSocket(url);
    text.on("open", () => text.send("text"));
    expect(await new Promise((resolve) => text.on("close", resolve))).toBe(1003);
  });

  it("say who closed with which code, to both ends", async () => {
    const codes: Promise<number>[] = [];
    const { url } = await serve((socket) => {
      codes.push(closeOf(socket));
      socket.onMessage = () => socket.close(1008, "policy");
    });
    const socket = await connectSocket(url);
    socket.send(Uint8Array.of(1));
    expect(await closeOf(socket)).toBe(1008);
    expect(await codes[0]).toBe(1008);
    socket.send(Uint8Array.of(1)); // into the void, without harm
  });
});

describe("connectSocket", () => {
  it("fails with connection_failed where nobody listens, or nobody answers in time", async () => {
    await expect(connectSocket("ws://127.0.0.1:1")).rejects.toMatchObject({ code: "connection_failed" });
    const { createServer } = await import("node:net");
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    await expect(connectSocket(`ws://127.0.0.1:${port}`, { timeoutMs: 50 })).rejects.toMatchObject({
      code: "connection_failed",
    });
    silent.close();
  });

  it("fails with bad_argument for what is not a URL, aborted when given up", async () => {
    for (const url of ["", "localhost:1", "http://a", "ws://"]) {
      await expect(connectSocket(url)).rejects.toMatchObject({ code: "bad_argument" });
    }
    const { url } = await serve(echo);
    const signal = AbortSignal.abort();
    await expect(connectSocket(url, { signal })).rejects.toMatchObject({ code: "aborted" });
    const controller = new AbortController();
    const connecting = connectSocket(url, { signal: controller.signal });
    controller.abort();
    await expect(connecting).rejects.toMatchObject({ code: "aborted" });
  });
});

describe("serveSockets", () => {
  it("fails with io_failed on a port that is taken", async () => {
    const { port } = await serve(echo);
    const options = { host: "127.0.0.1", port, maxMessageBytes: LIMIT, onConnection: echo };
    await expect(serveSockets(options)).rejects.toMatchObject({ code: "io_failed" });
  });

  it("answers plain HTTP with 426", async () => {
    const { port } = await serve(echo);
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(426);
  });

  it("ends when it is told, whatever clients hold open: sockets, half an upgrade, bare connections", async () => {
    const server = await serve(echo);
    const socket = await connectSocket(server.url);
    const closed = closeOf(socket);
    const bare = ["", "GET / HTTP/1.1\r\n"].map((text) => {
      const connection = connectTcp(server.port, "127.0.0.1");
      connection.on("error", () => {});
      connection.write(text);
      return connection;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close(20);
    expect(await closed).toBe(1006);
    for (const connection of bare) connection.destroy();
  }, 10_000);
});

describe("nodeBundleCache", () => {
  it("keeps and gives back, leaves no half file, takes only digests as names", async () => {
    const dir = mkdtempSync(join(tmpdir(), "tacet-cache-"));
    try {
      const cache = nodeBundleCache(join(dir, "deep/er"));
      const digest = "0a".repeat(32);
      expect(await cache.get(digest)).toBeUndefined();
      await cache.put(digest, Uint8Array.of(1, 2, 3));
      await cache.put(digest, Uint8Array.of(4, 5));
      const got = await cache.get(digest);
      expect(got).toEqual(Uint8Array.of(4, 5));
      expect(got?.constructor).toBe(Uint8Array);
      expect(readdirSync(join(dir, "deep/er"))).toEqual([`${digest}.safetensors`]);
      expect(readFileSync(join(dir, "deep/er", `${digest}.safetensors`))).toHaveLength(2);
      for (const name of ["../x", "", "0A".repeat(32), "0a".repeat(31)]) {
        await expect(cache.get(name)).rejects.toThrow(RangeError);
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
