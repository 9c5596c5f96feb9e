/** A connection to a Redis server: commands are written together, and fail at once while it is not there. */
import { createHash } from "node:crypto";
import type { createClient } from "@redis/client";
import { TacetError } from "../../base/errors.ts";
import type { RedisArgument, RedisLink } from "../../base/platform.ts";

const CONNECT_MS = 3_000;
/** A command that has no reply by then fails. */
const REPLY_MS = 2_000;
/** With a ping each second, a connection that is silent for so long is given up. */
const SILENCE_MS = 4_000;
const LONGEST_BACKOFF_MS = 500;

export interface RedisLinkOptions {
  /** redis:// or rediss:// (TLS), with user, password and number of the database where there are any. */
  readonly url: string;
  /** For a URL without one. */
  readonly password?: string | undefined;
  readonly replyMs?: number | undefined;
  /** The connection was lost or is back. `reason` is a code without secrets. */
  readonly onChange?: ((state: "lost" | "ready", reason: string) => void) | undefined;
}

/** @throws TacetError bad_argument for a URL; connection_failed if the server can't be reached or refuses */
export async function connectRedis(options: RedisLinkOptions): Promise<RedisLink> {
  const { host, client, subscriber } = clientsOf(options, await loadClient());
  const { onChange = () => {}, replyMs = REPLY_MS } = options;
  const hashes = new Map<string, string>();
  let wasReady = false;
  const link: RedisLink = {
    get isReady() {
      return client.isReady;
    },
    onNews: () => {},
    send: (command) => within(replyMs, client.sendCommand(command.map(asArgument))),
    async run(script, keys, args) {
      const hash = hashes.get(script) ?? createHash("sha1").update(script).digest("hex");
      hashes.set(script, hash);
      const rest = [String(keys.length), ...keys, ...args];
      try {
        return await link.send(["EVALSHA", hash, ...rest]);
      } catch (error) {
        // A server that has restarted does not know the script. It has not run, so it is not run twice.
        if (!(error instanceof TacetError) || !/\(NOSCRIPT\)/.test(error.message)) throw error;
        return await link.send(["EVAL", script, ...rest]);
      }
    },
    async subscribe(channel) {
      await connectFirst(subscriber, host);
      subscriber.on("ready", () => link.onNews());
      await within(
        replyMs,
        subscriber.subscribe(channel, () => link.onNews()),
      );
    },
    close() {
      for (const each of [client, subscriber]) if (each.isOpen) each.destroy();
    },
  };
  client.on("error", (error: unknown) => {
    if (wasReady) onChange("lost", reasonOf(error));
    wasReady = false;
  });
  await connectFirst(client, host);
  wasReady = true;
  client.on("ready", () => {
    wasReady = true;
    onChange("ready", "");
    link.onNews();
  });
  return link;
}

/** Loaded where it is used: programs without a Redis server do without the package. */
async function loadClient(): Promise<typeof createClient> {
  try {
    return (await import("@redis/client")).createClient;
  } catch (cause) {
    throw new TacetError("io_failed", "the package @redis/client is not installed", {
      hint: "npm install @redis/client, or tacet without --omit=optional",
      cause,
    });
  }
}

function clientsOf({ url, password }: RedisLinkOptions, create: typeof createClient) {
  const host = hostOf(url);
  const options = {
    url,
    ...(password === undefined ? {} : { password }),
    RESP: 2,
    // Never queued for later: a query that can't be charged now is refused now.
    disableOfflineQueue: true,
    disableClientInfo: true,
    pingInterval: 1_000,
    socket: { connectTimeout: CONNECT_MS, socketTimeout: SILENCE_MS },
  } as const;
  const make = () => {
    let wasThere = false;
    const reconnectStrategy = (retries: number) =>
      wasThere ? Math.min(25 * 2 ** Math.min(retries, 10), LONGEST_BACKOFF_MS) : false;
    const client = create({ ...options, socket: { ...options.socket, reconnectStrategy } });
    client.on("ready", () => (wasThere = true));
    client.on("error", () => {}); // connectFirst, or a command, says it
    return client;
  };
  return { host, client: make(), subscriber: make() };
}

/** Host and port of a URL: all of it that may be shown. */
function hostOf(url: string): string {
  try {
    const { protocol, host, hostname, pathname } = new URL(url);
    if (/^rediss?:$/.test(protocol) && hostname !== "" && /^\/?\d*$/.test(pathname)) return host;
  } catch {}
  throw new TacetError("bad_argument", "--redis must be a URL of a Redis server", {
    hint: "as in redis://127.0.0.1:6379, or rediss://HOST:PORT/0 for TLS; the password may be in TACET_REDIS_PASSWORD",
  });
}

async function connectFirst(client: { connect(): Promise<unknown> }, host: string): Promise<void> {
  try {
    await client.connect();
  } catch (error) {
    throw new TacetError(
      "connection_failed",
      `the Redis server at ${host} can't be used (${reasonOf(error)})`,
      {
        hint: "see that it runs, and that --redis or TACET_REDIS_URL and the password are right",
      },
    );
  }
}

const asArgument = (argument: RedisArgument): string | Buffer =>
  typeof argument === "string"
    ? argument
    : Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength);

async function within<T>(ms: number, reply: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(unavailable("no reply in time")), ms);
  });
  try {
    return await Promise.race([reply, late]);
  } catch (error) {
    throw error instanceof TacetError ? error : unavailable(reasonOf(error));
  } finally {
    clearTimeout(timer);
  }
}

function unavailable(reason: string): TacetError {
  return new TacetError("unavailable", `the provider can't reach its store (${reason})`, {
    hint: "nothing was answered; ask again in a moment",
  });
}

/** "ECONNREFUSED", "WRONGPASS", "SocketTimeoutError": never a whole message, which may quote a command. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  const cause = error.cause instanceof Error ? error.cause : error;
  const code = (cause as { code?: unknown }).code;
  if (typeof code === "string") return code;
  return /^[A-Z]{2,}\b/.exec(cause.message)?.[0] ?? cause.constructor.name;
}
