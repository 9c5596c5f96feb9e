/**
 * Many clients of one account in a separate process: each asks and asks, one query at a time, until its budget is
 * refused. The bytes of a query are anything, but no two are alike; one that is not answered is sent again as it was,
 * over a new connection. They share keys: whoever is told that the key is worn out fetches the next one for all, and the
 * query is sent again under that.
 *
 * Argument: JSON of {@link BudgetClients}. Says how many vectors were answered, on the way and at the end, over IPC.
 */
import { WebSocket } from "ws";
import { toHex } from "../../src/base/bytes.ts";
import { ERROR_KINDS } from "../../src/base/errors.ts";
import { decodeProviderFrame, encodeClientFrame, PROTOCOL_VERSION } from "../../src/wire/frames.ts";

export interface BudgetClients {
  readonly url: string;
  readonly token: string;
  readonly clients: number;
  /** Tells this process's queries from another's. */
  readonly process: number;
  readonly queryBytes: number;
  /** Vectors that are asked under a key; some more than it answers. */
  readonly vectorsPerKey: number;
  /** Vectors of the largest query. */
  readonly mostVectors: number;
}

export interface BudgetReport {
  readonly answered: number;
  /** Queries that were sent more than once. */
  readonly resent: number;
  readonly done: boolean;
  /** Vectors that were answered under each key. */
  readonly byKey: Readonly<Record<string, number>>;
  /** Queries that were refused because of their key. */
  readonly worn: number;
  /** Failures that were not expected. */
  readonly failures: readonly string[];
}

const MAX_BYTES = 1 << 20;
const KEY_REFUSALS: readonly number[] = [ERROR_KINDS.worn_key.wire, ERROR_KINDS.unknown_key.wire];
const options = JSON.parse(process.argv[2]) as BudgetClients;
const failures: string[] = [];
let answered = 0;
let resent = 0;
let worn = 0;
const byKey: Record<string, number> = {};

/** Asks over one connection after the other until a query of one vector is refused. */
async function ask(client: number): Promise<void> {
  let vectors = 1 + (client % options.mostVectors);
  let socket: WebSocket | undefined;
  for (let sequence = 0; vectors > 0; sequence++) {
    const ciphertext = new Uint8Array(vectors * options.queryBytes).fill(client & 255);
    new Uint32Array(ciphertext.buffer, 0, 3).set([options.process, client, sequence]);
    let shared: SharedKey | undefined;
    for (let attempt = 0; ; attempt++) {
      // Sent again under the same key: under another it would be another request, and charged again.
      shared ??= keyFor(vectors);
      const key = await shared.key;
      // It may have been lost while the key was waited for.
      if (socket?.readyState !== WebSocket.OPEN) socket = await connect();
      if (attempt === 1) resent++;
      const outcome = await exchange(socket, vectors, ciphertext, key);
      if (outcome === "lost") {
        socket = undefined;
        continue;
      }
      if (outcome === "worn") {
        worn++;
        if (latest === shared) latest = undefined;
        shared = undefined;
        attempt--;
        continue;
      }
      if (outcome === "answered") {
        answered += vectors;
        byKey[toHex(key)] = (byKey[toHex(key)] ?? 0) + vectors;
      } else if (outcome === "exhausted") vectors = vectors > 1 ? 1 : 0;
      else {
        failures.push(outcome);
        vectors = 0;
      }
      break;
    }
  }
  socket?.close();
}

interface SharedKey {
  readonly key: Promise<Uint8Array>;
  /** Vectors that are asked under it. */
  asked: number;
}

/** The key that all use; undefined: the next one has to be fetched. */
let latest: SharedKey | undefined;
function keyFor(vectors: number): SharedKey {
  if (latest === undefined || latest.asked + vectors > options.vectorsPerKey) {
    latest = { key: fetchKey(), asked: 0 };
  }
  latest.asked += vectors;
  return latest;
}

/** Over one connection after the other, as often as the provider wants to be asked. */
async function fetchKey(): Promise<Uint8Array> {
  for (;;) {
    const socket = await connect();
    const key = await new Promise<Uint8Array | undefined>((resolve) => {
      socket.once("close", () => resolve(undefined));
      socket.on("message", (data: Buffer) => {
        const { case: name, value } = decodeProviderFrame(new Uint8Array(data), MAX_BYTES);
        if (name === "keyMade") resolve(value.keyId.slice());
        else if (name === "failure") resolve(undefined);
      });
      socket.send(encodeClientFrame({ case: "fetchKey", value: { id: 1 } }));
    });
    socket.terminate();
    if (key !== undefined) return key;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function exchange(
  socket: WebSocket,
  vectors: number,
  ciphertext: Uint8Array,
  keyId: Uint8Array,
): Promise<string> {
  return new Promise((resolve) => {
    socket.once("close", () => resolve("lost"));
    socket.on("message", (data: Buffer) => {
      const { case: name, value } = decodeProviderFrame(new Uint8Array(data), MAX_BYTES);
      if (name === "welcome") return;
      socket.removeAllListeners();
      socket.on("error", () => {});
      if (name === "answer") resolve("answered");
      else if (name === "failure" && value.code === ERROR_KINDS.budget_exhausted.wire) resolve("exhausted");
      else if (name === "failure" && KEY_REFUSALS.includes(value.code)) resolve("worn");
      else if (name === "goodbye") resolve("lost");
      else resolve(name === "failure" ? `code ${value.code}: ${value.message}` : name);
    });
    socket.send(encodeClientFrame({ case: "query", value: { id: 1, group: 0, vectors, ciphertext, keyId } }));
  });
}

async function connect(): Promise<WebSocket> {
  for (;;) {
    const socket = new WebSocket(options.url, { perMessageDeflate: false });
    socket.on("error", () => {});
    const opened = await new Promise<boolean>((resolve) => {
      socket.once("open", () => resolve(true));
      socket.once("close", () => resolve(false));
    });
    if (opened) {
      const value = {
        version: PROTOCOL_VERSION,
        token: options.token,
        baseFingerprint: new Uint8Array(32).fill(0x5a),
      };
      const welcomed = new Promise<boolean>((resolve) => {
        socket.once("message", () => resolve(true)).once("close", () => resolve(false));
      });
      socket.send(encodeClientFrame({ case: "hello", value }));
      if (await welcomed) return socket;
    }
    await new Promise((resolve) => setTimeout(resolve, 100 + 200 * Math.random()));
  }
}

const report = (done: boolean) =>
  process.send?.({ answered, resent, done, byKey, worn, failures } satisfies BudgetReport);
const timer = setInterval(() => report(false), 20);
await Promise.all(Array.from({ length: options.clients }, (_, client) => ask(client)));
clearInterval(timer);
report(true);
process.disconnect();
