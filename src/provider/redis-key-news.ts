/**
 * Tells that API keys in the Redis database have changed: by a message of whoever changed them, and by looking now and
 * then, since messages can be lost.
 */
import type { RedisLink } from "../base/platform.ts";

/** A revocation whose message is lost closes idle connections after so long. */
const POLL_MS = 400;

export class RedisKeyNews {
  readonly #link: RedisLink;
  readonly #name: string;
  readonly #onChange: () => void;
  #version: unknown;
  #poll: unknown;
  #polling = false;
  #closed = false;

  /** @param name of the counter of changes, which is also the channel */
  constructor(link: RedisLink, name: string, onChange: () => void) {
    this.#link = link;
    this.#name = name;
    this.#onChange = onChange;
  }

  /** Tells of changes from now on, until close. */
  async watch(): Promise<void> {
    this.#version = await this.#link.send(["GET", this.#name]);
    this.#link.onNews = () => void this.#lookForChanges();
    await this.#link.subscribe(this.#name);
    // Whatever was said before the subscription is found here; so is what a lost message said.
    this.#pollLater();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#poll);
  }

  #pollLater(): void {
    this.#poll = setTimeout(async () => {
      await this.#lookForChanges();
      if (!this.#closed) this.#pollLater();
    }, POLL_MS);
  }

  async #lookForChanges(): Promise<void> {
    if (this.#polling || !this.#link.isReady) return;
    this.#polling = true;
    try {
      const version = await this.#link.send(["GET", this.#name]);
      if (version === this.#version) return;
      this.#version = version;
      this.#onChange();
    } catch {
      // Not there now: asked again shortly, and queries say so meanwhile.
    } finally {
      this.#polling = false;
    }
  }
}
