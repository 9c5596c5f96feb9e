/**
 * Many clients of one account in a process of its own: each asks and asks, one query at a time, until its budget is
 * refused. The bytes of a query are anything, but no two are alike; one that is not answered is sent again as it was,
 * over a new connection.
 *
 * Argument: JSON of {@link BudgetClients}. Says how many vectors were answered, on the way and at the end, over IPC.
 */
import { WebSocket } from "ws";
import { ERROR_KINDS } from "../../src/base/errors.ts";
import { decodeProviderFrame, encodeClientFrame } from "../../src/wire/frames.ts";

export interface BudgetClients {
  readonly url: string;
  readonly token: string;
  readonly clients: number;
  /** Tells this process's queries from another's. */
  readonly process: number;
  readonly queryBytes: number;
  /** Vectors of the largest query. */
  readonly mostVectors: number;
}

export interface BudgetReport {
  readonly answered: number;
  /** Queries that were sent more than once. */
  readonly resent: number;
  readonly done: boolean;
  /** Failures that were not expected. */
  readonly failures: readonly string[];
}

const MAX_BYTES = 1 << 20;
const options = JSON.parse(process.argv[2]) as BudgetClients;
const failures: string[] = [];
let answered = 0;
let resent = 0;

/** Asks over one connection after the other until a query of one vector is refused. */
async function ask(client: number): Promise<void> {
  let vectors = 1 + (client % options.mostVectors);
  let socket: WebSocket | undefined;
  for (let sequence = 0; vectors > 0; sequence++) {
    const ciphertext = new Uint8Array(vectors * options.queryBytes).fill(client & 255);
    new Uint32Array(ciphertext.buffer, 0, 3).set([options.process, client, sequence]);
    for (let attempt = 0; ; attempt++) {
      socket ??= await connect();
      if (attempt === 1) resent++;
      const outcome = await exchange(socket, vectors, ciphertext);
      if (outcome === "lost") {
        socket = undefined;
        continue;
      }
      if (outcome === "answered") answered += vectors;
      else if (outcome === "exhausted") vectors = vectors > 1 ? 1 : 0;
      else {
        failures.push(outcome);
        vectors = 0;
      }
      break;
    }
  }
  socket?.close();
}

function exchange(socket: WebSocket, vectors: number, ciphertext: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    socket.once("close", () => resolve("lost"));
    socket.on("message", (data: Buffer) => {
      const { case: name, value } = decodeProviderFrame(new Uint8Array(data), MAX_BYTES);
      if (name === "welcome") return;
      socket.removeAllListeners();
      socket.on("error", () => {});
      if (name === "answer") resolve("answered");
      else if (name === "failure" && value.code === ERROR_KINDS.budget_exhausted.wire) resolve("exhausted");
      else if (name === "goodbye") resolve("lost");
      else resolve(name === "failure" ? `code ${value.code}: ${value.message}` : name);
    });
    socket.send(encodeClientFrame({ case: "query", value: { id: 1, group: 0, vectors, ciphertext } }));
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
      const value = { version: 1, token: options.token, baseFingerprint: new Uint8Array(32).fill(0x5a) };
      socket.send(encodeClientFrame({ case: "hello", value }));
      return socket;
    }
    await new Promise((resolve) => setTimeout(resolve, 100 + 200 * Math.random()));
  }
}

const report = (done: boolean) => process.send?.({ answered, resent, done, failures } satisfies BudgetReport);
const timer = setInterval(() => report(false), 20);
await Promise.all(Array.from({ length: options.clients }, (_, client) => ask(client)));
clearInterval(timer);
report(true);
process.disconnect();
