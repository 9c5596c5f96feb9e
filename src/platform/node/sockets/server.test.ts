/** Sockets in Node: what passes, what is refused, and that both ends always come to an end. */
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import type { TacetError } from "../../../base/errors.ts";
import type { MessageSocket } from "../../../base/platform.ts";
import { WaitingBytes } from "../../../base/waiting-bytes.ts";
import { nodeBundleCache } from "../files/bundle-cache.ts";
import { FrameProgress } from "./frame-progress.ts";
import { Poller } from "./polling.ts";
import { type ServeOptions, type SocketServer, serveSockets } from "./server.ts";
import { connectSocket } from "./socket.ts";

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
  socket.share?.welcome();
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

  it("stay awake at the server behind a step's query, not behind a part of a prompt", async () => {
    const expected = vi.spyOn(Poller.prototype, "expect");
    try {
      const server = await serve((socket) => {
        socket.share?.welcome();
        socket.onMessage = () => socket.send(new Uint8Array(1));
      });
      const socket = await connectSocket(server.url, { pollMicros: 0 });
      const asked = async (bytes: number) => {
        expected.mockClear();
        const answered = new Promise<void>((resolve) => (socket.onMessage = () => resolve()));
        socket.send(new Uint8Array(bytes));
        await answered;
        // One is the client's, for its answer.
        return expected.mock.calls.length - 1;
      };
      expect(await asked(4_600)).toBe(1);
      expect(await asked(60_000)).toBe(0);
    } finally {
      expected.mockRestore();
    }
  });

  it("send together what is sent together, and answer it so", async () => {
    const waiting: number[] = [];
    const server = await serve((socket) => {
      socket.share?.welcome();
      socket.onMessage = (message) => {
        socket.send(message);
        waiting.push(socket.bufferedBytes);
      };
    });
    const socket = await connectSocket(server.url);
    const got: number[] = [];
    const arrived = (count: number) =>
      new Promise<void>((resolve) => {
        socket.onMessage = ([first]) => {
          if (got.push(first) === count) resolve();
        };
      });
    const alone = arrived(1);
    socket.send(new Uint8Array(100).fill(1));
    expect(socket.bufferedBytes).toBe(0);
    await alone;
    // It leaves when the turn of the event loop ends in which it was sent.
    expect(waiting[0]).toBeGreaterThan(100);
    const both = arrived(3);
    socket.together?.(() => {
      socket.send(new Uint8Array(4000).fill(2));
      socket.send(new Uint8Array(4000).fill(3));
      expect(socket.bufferedBytes).toBeGreaterThan(8000);
    });
    expect(socket.bufferedBytes).toBe(0);
    await both;
    expect(got).toEqual([1, 2, 3]);
    // Both came before the first answer left.
    expect(waiting[1]).toBeGreaterThan(4000);
    expect(waiting[1]).toBeLessThan(4100);
    expect(waiting[2]).toBeGreaterThan(8000);
    expect(() =>
      socket.together?.(() => {
        throw new Error("no");
      }),
    ).toThrow("no");
    socket.send(new Uint8Array(10));
    expect(socket.bufferedBytes).toBe(0);
  });

  it("get small messages whole, whether those before have left or wait", async () => {
    const sent: number[] = [];
    const server = await serve((socket) => {
      socket.share?.welcome();
      let next = 0;
      const send = (length: number) => {
        sent.push(length);
        socket.send(new Uint8Array(length).fill(next++));
      };
      socket.onMessage = () => {
        // Several in one turn; then one that fills what the network takes, and small ones behind it, turn after turn.
        for (const length of [1, 256, 100, 257, 50]) send(length);
        send(8 << 20);
        let turns = 0;
        const turn = () => {
          send(60);
          if (++turns < 20) setImmediate(turn);
        };
        setImmediate(turn);
      };
    });
    const socket = await connectSocket(server.url);
    const got: Uint8Array[] = [];
    const all = new Promise<void>((resolve) => {
      socket.onMessage = (message) => {
        if (got.push(message.slice()) === 26) resolve();
      };
    });
    socket.send(new Uint8Array(10));
    await all;
    expect(got.map(({ length }) => length)).toEqual(sent);
    for (const [i, message] of got.entries()) expect(message.every((byte) => byte === i)).toBe(true);
  });

  it("say what is wrong with a URL's scheme, or a certificate", async () => {
    const folder = fileURLToPath(new URL("../../../../test/fixtures/tls/", import.meta.url));
    const tls = { certFile: `${folder}first.cert.pem`, keyFile: `${folder}first.key.pem` };
    const server = await serveSockets({
      ...{ host: "127.0.0.1", port: 0, maxMessageBytes: LIMIT, tls },
      onConnection: echo,
    });
    servers.push(server);
    const of = (url: string) =>
      connectSocket(url).then(
        () => expect.fail("connected"),
        (error: TacetError) => error,
      );
    expect(await of(server.url)).toMatchObject({
      code: "connection_failed",
      message: expect.stringMatching(/is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/),
      hint: expect.stringContaining("NODE_EXTRA_CA_CERTS"),
    });
    const open = server.url.replace("wss:", "ws:");
    expect(await of(open)).toMatchObject({ hint: expect.stringContaining(`its URL is ${server.url};`) });
    const plain = (await serve(echo)).url;
    const closed = plain.replace("ws:", "wss:");
    expect(await of(closed)).toMatchObject({ hint: expect.stringContaining(`its URL is ${plain};`) });
    // What is not TLS at all: the handshake gets an answer that is none.
    const text = createTcpServer((socket) => socket.end("220 hello\r\n")).listen(0, "127.0.0.1");
    await once(text, "listening");
    const { port } = text.address() as AddressInfo;
    for (const host of ["127.0.0.1", "localhost"]) {
      const other = await of(`wss://${host}:${port}`);
      expect(other).toMatchObject({ hint: expect.stringContaining(`ws://${host}:${port};`) });
    }
    expect(await of(`ws://127.0.0.1:${port}`)).toMatchObject({ hint: expect.stringContaining("wss://") });
    text.close();
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

describe("limits", () => {
  const rejected: string[] = [];
  const limited = async (limits: Partial<ServeOptions>) => {
    rejected.length = 0;
    const server = await serveSockets({
      host: "127.0.0.1",
      port: 0,
      maxMessageBytes: LIMIT,
      onConnection: echo,
      onRejected: (reason) => rejected.push(reason),
      ...limits,
    });
    servers.push(server);
    return server;
  };
  const open = (url: string, headers = {}) =>
    new Promise<WebSocket | number>((resolve) => {
      const socket = new WebSocket(url, { headers });
      socket.on("open", () => resolve(socket)).on("error", () => {});
      socket.on("unexpected-response", (_request, { statusCode = 0 }) => resolve(statusCode));
    });
  const echoed = (socket: WebSocket) =>
    new Promise((resolve) => {
      socket.once("message", resolve);
      socket.send(Uint8Array.of(7));
    });

  it("turn away connections over the limits of an address and of all, and take others when some have gone", async () => {
    const { url } = await limited({ maxConnections: 3, maxConnectionsPerAddress: 2, trustProxy: true });
    const from = (address: string) => open(url, { "x-forwarded-for": `6.6.6.6, ${address}` });
    const first = (await from("1.1.1.1")) as WebSocket;
    await from("1.1.1.1");
    expect(await from("1.1.1.1")).toBe(429);
    await from("2.2.2.2");
    expect(await from("3.3.3.3")).toBe(503);
    expect(rejected).toEqual(["too-many-of-address", "too-many-connections"]);
    first.terminate();
    for (;;) {
      const next = await from("1.1.1.1");
      if (typeof next === "number") continue;
      await echoed(next);
      break;
    }
  });

  it("count an IPv6 network of 64 bits as one address, and an IPv4 address however it is written", async () => {
    const { url } = await limited({ maxConnectionsPerAddress: 1, trustProxy: true });
    const from = (address: string) => open(url, { "x-forwarded-for": address });
    await from("2001:db8:0:1::1");
    expect(await from("2001:db8:0:1:ffff::2")).toBe(429);
    expect(await from("2001:db8:0:2::1")).toBeInstanceOf(WebSocket);
    await from("192.0.2.1");
    expect(await from("::ffff:192.0.2.1")).toBe(429);
  });

  it("do not take a client's word for its address without a proxy", async () => {
    const { url } = await limited({ maxConnectionsPerAddress: 1 });
    await open(url, { "x-forwarded-for": "1.1.1.1" });
    expect(await open(url, { "x-forwarded-for": "2.2.2.2" })).toBe(429);
  });

  it("turn away an address that opens connections and asks for nothing, WebSockets not counted", async () => {
    const { url, port } = await limited({ maxConnectionsPerAddress: 2 });
    const [first] = [(await open(url)) as WebSocket, await open(url)];
    const bare = [0, 1, 2].map(() =>
      connectTcp(port, "127.0.0.1")
        .on("error", () => {})
        .resume(),
    );
    await Promise.race(bare.map((socket) => new Promise((resolve) => socket.on("close", resolve))));
    expect(rejected).toEqual(["too-many-of-address"]);
    await echoed(first);
    for (const socket of bare) socket.destroy();
  });

  it("cut off who is slow over a handshake, also byte by byte, and serve others meanwhile", async () => {
    const { url, port } = await limited({ handshakeMs: 200 });
    const slow = ["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: "].map((text) => {
      const socket = connectTcp(port, "127.0.0.1");
      socket.write(text);
      const drip = setInterval(() => socket.write("x"), 20);
      return new Promise((resolve) =>
        socket
          .on("error", () => {})
          .on("close", resolve)
          .on("close", () => clearInterval(drip))
          .resume(),
      );
    });
    await echoed((await open(url)) as WebSocket);
    await Promise.all(slow);
  });

  it("cut off who does not finish a message, in one frame or in several, and nobody who is idle", async () => {
    const { url } = await limited({ receiveMs: 200 });
    const idle = (await open(url)) as WebSocket;
    // A masked binary frame of 1,000 bytes; one without FIN; half a head.
    for (const start of [[0x82, 0xfe, 0x03, 0xe8, 1, 2, 3, 4], [0x02, 0x81, 1, 2, 3, 4, 5], [0x82]]) {
      const socket = (await open(url)) as WebSocket & { _socket: Socket };
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket._socket.write(Uint8Array.from(start));
      const drip = setInterval(() => start.length === 8 && socket._socket.write("x"), 20);
      expect(await closed).toBe(1006);
      clearInterval(drip);
    }
    await echoed(idle);
    expect(rejected).toEqual(["slow-message", "slow-message", "slow-message"]);
  });
});

describe("messages that are not finished", () => {
  it("take no more memory than a connection's share: it is told, cut off, and others are served", async () => {
    const cut: string[] = [];
    const waiting = new WaitingBytes({ total: 100_000 });
    const server = await serveSockets({
      host: "127.0.0.1",
      port: 0,
      maxMessageBytes: LIMIT,
      waiting,
      onConnection(socket) {
        echo(socket);
        socket.share!.onCut = ({ code }) => cut.push(code);
      },
    });
    servers.push(server);
    const open = async () => {
      const socket = new WebSocket(server.url) as WebSocket & { _socket: Socket };
      await new Promise((resolve) => socket.on("open", resolve));
      return socket;
    };
    const [long, idle] = [await open(), await open()];
    const closed = new Promise((resolve) => long.on("close", resolve));
    // A frame of 60,000 bytes, of which the last does not come.
    long._socket.write(Uint8Array.from([0x82, 0xfe, 60_000 >> 8, 60_000 & 255, 1, 2, 3, 4]));
    long._socket.write(new Uint8Array(59_999));
    expect(await closed).toBe(1006);
    expect(cut).toEqual(["too_many_requests"]);
    expect(waiting.bytes).toBe(0);
    const back = new Promise((resolve) => idle.once("message", resolve));
    idle.send(Uint8Array.of(1));
    await back;
  });
});

describe("FrameProgress", () => {
  it("knows, chunk by chunk however cut, where messages begin and end", () => {
    const frame = (first: number, length: number) => {
      const head = length < 126 ? [length | 0x80] : [126 | 0x80, length >> 8, length & 255];
      return [first, ...head, 1, 2, 3, 4, ...new Array(length).fill(0xff)];
    };
    const lengths = fc.integer({ min: 0, max: 300 });
    const message = fc
      .tuple(fc.array(lengths, { maxLength: 2 }), lengths)
      .map(([parts, last]) => [
        ...parts.flatMap((length, i) => [...frame(i === 0 ? 0x02 : 0x00, length), ...frame(0x89, 3)]),
        ...frame(parts.length === 0 ? 0x82 : 0x80, last),
      ]);
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 50 }),
        (all, cut) => {
          const progress = new FrameProgress();
          const ends = new Set<number>();
          let sum = 0;
          for (const each of all) ends.add((sum += each.length));
          const bytes = Uint8Array.from(all.flat());
          for (let at = 0; at < bytes.length; at += cut) {
            const end = Math.min(at + cut, bytes.length);
            progress.push(bytes.subarray(at, end), () => at);
            expect(progress.incompleteSince === undefined).toBe(ends.has(end));
          }
        },
      ),
    );
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
