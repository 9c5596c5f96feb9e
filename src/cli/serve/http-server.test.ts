import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type HttpServer, serveHttp } from "./http-server.ts";

let server: HttpServer | undefined;
afterEach(async () => {
  await server?.close(0);
  server = undefined;
});

async function start(handle: (request: Request) => Promise<Response>): Promise<string> {
  server = await serveHttp({ host: "127.0.0.1", port: 0, handle });
  return server.url;
}

/** What comes back for bytes as they are. */
function raw(url: string, text: string): { socket: Socket; reply: Promise<string> } {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  const reply = new Promise<string>((resolve) => {
    let received = "";
    socket.setEncoding("utf8").on("data", (data: string) => (received += data));
    socket.on("error", () => {}).on("close", () => resolve(received));
  });
  socket.write(text);
  return { socket, reply };
}

describe("serveHttp", () => {
  it("gives bodies and headers through, both ways", async () => {
    const url = await start(
      async (request) =>
        new Response(`${request.method} ${new URL(request.url).pathname} ${await request.text()}`, {
          status: 201,
          headers: { "x-given": request.headers.get("x-given") ?? "" },
        }),
    );
    const response = await fetch(`${url}/a%20b`, {
      method: "POST",
      headers: { "x-given": "é" },
      body: "body",
    });
    expect(response.status).toBe(201);
    expect(response.headers.get("x-given")).toBe("é");
    expect(await response.text()).toBe("POST /a%20b body");
  });

  it("answers a request whose body nobody reads, and closes its connection", async () => {
    const url = await start(async () => new Response("too large", { status: 413 }));
    const head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    const { reply } = raw(url, `${head}5\r\nhello\r\n`);
    expect(await reply).toMatch(/^HTTP\/1.1 413 .*connection: close.*too large/is);
  });

  it("tells a handler that its client has gone", async () => {
    let gone = (): void => {};
    const noticed = new Promise<void>((resolve) => (gone = resolve));
    const url = await start((request) => {
      request.signal.addEventListener("abort", () => gone());
      return new Promise(() => {});
    });
    const { socket } = raw(url, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    setTimeout(() => socket.destroy(), 50);
    await noticed;
  });

  it("waits for a reader that stops, with nobody else", async () => {
    let made = 0;
    const url = await start(async (request) => {
      if (new URL(request.url).pathname !== "/stream") return new Response("here");
      const pull = (controller: ReadableStreamDefaultController): void => {
        made++;
        controller.enqueue(new Uint8Array(1 << 20));
      };
      return new Response(new ReadableStream({ pull }));
    });
    const { socket } = raw(url, "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.pause();
    await expect.poll(() => made).toBeGreaterThan(1);
    expect(await (await fetch(url)).text()).toBe("here");
    expect(made).toBeLessThan(100);
    socket.destroy();
  });

  it.each([
    ["another name", "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 421],
    ["no name", "GET / HTTP/1.0\r\n\r\n", 421],
    ["an odd method", "TRACE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400],
    ["an odd target", "GET http://[ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400],
    ["nonsense", "nonsense\r\n\r\n", 400],
  ])("refuses %s", async (_, text, status) => {
    const url = await start(async () => new Response("here"));
    expect(await raw(url, text).reply).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(await (await fetch(url)).text()).toBe("here");
  });

  it("lets what is being answered end when it is closed", async () => {
    let finish = (): void => {};
    const url = await start(async () => {
      await new Promise<void>((resolve) => (finish = resolve));
      return new Response("done");
    });
    const answer = fetch(url);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const closed = server!.close(60_000);
    finish();
    expect(await (await answer).text()).toBe("done");
    await closed;
    await expect(fetch(url)).rejects.toThrow();
    server = undefined;
  });
});
