/** A socket that is watched: what leaves this machine, and where the time of each query went. */
import type { MessageSocket, Platform } from "../src/base/platform.ts";
import { decodeClientFrame, decodeProviderFrame } from "../src/wire/frames.ts";
import type { GroupTime, Seen } from "./messages.ts";

const NO_LIMIT = 2 ** 31;

export class Tap {
  #names: readonly string[] = [];
  #ciphertext = new Uint8Array(0);
  #group = 0;
  #queries = 0;
  #bytesUp = 0;
  #bytesDown = 0;
  #keys = 0;
  #keyBytes = 0;
  #times: GroupTime[] = [];
  /** Query id → its group and when it was sent. */
  readonly #open = new Map<number, { group: number; at: number }>();
  /** When the last answer came, or the pass began. */
  #resumed = performance.now();

  wrap(platform: Platform): Platform {
    return {
      ...platform,
      connect: async (url, options) => this.#watch(await platform.connect(url, options)),
    };
  }

  /** @param names of the groups, in order */
  setGroups(names: readonly string[]): void {
    this.#names = names;
  }

  begin(): void {
    this.#times = this.#names.map((name) => ({ name, modelMs: 0, wireMs: 0, providerMs: 0, queries: 0 }));
    this.#open.clear();
    this.#resumed = performance.now();
  }

  get times(): readonly GroupTime[] {
    return this.#times;
  }

  get seen(): Seen {
    return {
      ciphertext: this.#ciphertext.slice(),
      group: this.#names[this.#group] ?? "",
      queries: this.#queries,
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
      keys: this.#keys,
      keyBytes: this.#keyBytes,
    };
  }

  #watch(socket: MessageSocket): MessageSocket {
    const tap = this;
    return {
      send(message) {
        tap.#sent(message);
        socket.send(message);
      },
      get bufferedBytes() {
        return socket.bufferedBytes;
      },
      close: (code, reason) => socket.close(code, reason),
      get onMessage() {
        return socket.onMessage;
      },
      set onMessage(handler) {
        socket.onMessage = (message) => {
          tap.#received(message);
          handler(message);
        };
      },
      get onClose() {
        return socket.onClose;
      },
      set onClose(handler) {
        socket.onClose = handler;
      },
    };
  }

  #sent(message: Uint8Array): void {
    const frame = decodeClientFrame(message, NO_LIMIT);
    if (frame.case === "fetchKey") this.#keyBytes += message.length;
    else this.#bytesUp += message.length;
    if (frame.case !== "query") return;
    const { id, group, ciphertext } = frame.value;
    this.#ciphertext = ciphertext.slice();
    this.#group = group;
    this.#queries++;
    const now = performance.now();
    const time = this.#times[group];
    if (time && this.#open.size === 0) time.modelMs += now - this.#resumed;
    this.#open.set(id, { group, at: now });
  }

  #received(message: Uint8Array): void {
    const frame = decodeProviderFrame(message, NO_LIMIT);
    if (frame.case === "keyMade") this.#keys++;
    if (frame.case === "keyMade" || frame.case === "keyPart") this.#keyBytes += message.length;
    else this.#bytesDown += message.length;
    if (frame.case !== "answer") return;
    const query = this.#open.get(frame.value.id);
    this.#open.delete(frame.value.id);
    this.#resumed = performance.now();
    const time = query && this.#times[query.group];
    if (!time) return;
    const provider = frame.value.computeMicros / 1000;
    time.providerMs += provider;
    time.wireMs += Math.max(0, this.#resumed - query.at - provider);
    time.queries++;
  }
}
