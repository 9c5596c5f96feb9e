/**
 * Refusals in the log: the first ones of a kind each as a line, further ones as a count. Who sends what is refused would
 * otherwise decide how much is written.
 */
import type { ProviderEvent } from "../../provider/provider.ts";

type Refusal = Extract<ProviderEvent, { type: "failed" | "refused" }>;

/** A kind is counted again after so long. */
const EVERY_MS = 10_000;
/** Lines of one kind in that time. */
const MOST_LINES = 3;
/** Kinds that are told apart by key; what is beyond is counted by code alone. */
const MOST_KINDS = 256;

interface Kind {
  readonly of: Refusal["type"];
  readonly code: string;
  readonly keyId: string | undefined;
  seen: number;
}

export class RefusalLog {
  readonly #write: (line: object, message: string) => void;
  readonly #kinds = new Map<string, Kind>();
  #timer: NodeJS.Timeout | undefined;

  constructor(write: (line: object, message: string) => void) {
    this.#write = write;
  }

  record(event: Refusal): void {
    const kind = this.#kindOf(event);
    kind.seen++;
    if (kind.seen <= MOST_LINES) this.#write(event, event.type);
    this.#timer ??= setTimeout(() => this.flush(), EVERY_MS).unref();
  }

  /** Writes what was counted, and begins again. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const { of, code, keyId, seen } of this.#kinds.values()) {
      const more = seen - MOST_LINES;
      if (more <= 0) continue;
      this.#write({ type: "refusals", of, code, more, keyId }, "refusals");
    }
    this.#kinds.clear();
  }

  #kindOf(event: Refusal): Kind {
    const { type: of, code } = event;
    const known = "keyId" in event && typeof event.keyId === "string" ? event.keyId : undefined;
    const keyId =
      this.#kinds.size < MOST_KINDS || this.#kinds.has(nameOf(of, code, known)) ? known : undefined;
    const name = nameOf(of, code, keyId);
    let kind = this.#kinds.get(name);
    if (kind === undefined) {
      kind = { of, code, keyId, seen: 0 };
      this.#kinds.set(name, kind);
    }
    return kind;
  }
}

const nameOf = (...parts: readonly (string | undefined)[]): string => JSON.stringify(parts);
