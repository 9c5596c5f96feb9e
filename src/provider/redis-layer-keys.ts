/** The keys of private layers that a Redis database knows: which there are, and what is left of each (key-ids.ts). */
import type { RedisLink } from "../base/platform.ts";
import { type KeyName, keyIdOf, keyNameOf, LIVE_KEYS, newEpoch } from "./key-ids.ts";
import { ALLOCATE_KEY, FORGET_EPOCHS, NEWEST_KEY } from "./redis-scripts.ts";

export class RedisLayerKeys {
  readonly #link: RedisLink;
  readonly #prefix: string;
  #closed = false;

  constructor(link: RedisLink, prefix: string) {
    this.#link = link;
    this.#prefix = prefix;
  }

  close(): void {
    this.#closed = true;
  }

  serialName(account: string, epoch: string): string {
    return this.#name(`serial:${epoch}:${account}`);
  }

  usedName(account: string, { epoch, serial }: KeyName): string {
    return this.#name(`used:${epoch}:${serial}:${account}`);
  }

  /** The id of a new key. */
  async allocate(account: string): Promise<Uint8Array> {
    const [epoch, serial, begins] = (await this.#link.run(
      ALLOCATE_KEY,
      [this.#name("epoch")],
      [this.#name("serial:"), account, this.#name("used:"), newEpoch()],
    )) as [string, number, number];
    // In the background. Where it fails, the next epoch finds what is left.
    if (begins === 1) this.#forgetEpochs().catch(() => {});
    return keyIdOf({ epoch, serial });
  }

  /** Removes what earlier epochs have counted: no key of theirs is ever good again. */
  async #forgetEpochs(): Promise<void> {
    const prefix = this.#prefix.replace(/[\\*?[\]^-]/g, "\\$&");
    for (const kind of ["serial", "used"]) {
      let cursor = "0";
      do {
        const scan = ["SCAN", cursor, "MATCH", `${prefix}${kind}:*`, "COUNT", "1000"];
        const [next, names] = (await this.#link.send(scan)) as [string, string[]];
        if (names.length > 0)
          await this.#link.run(FORGET_EPOCHS, [this.#name("epoch"), ...names], [this.#prefix]);
        cursor = next;
      } while (cursor !== "0" && !this.#closed);
    }
  }

  /** Vectors left of each key, of the group that has fewest; undefined: it is not good. */
  async left(
    account: string,
    keyIds: readonly Uint8Array[],
    scopes: readonly string[],
    limit: number,
  ): Promise<(number | undefined)[]> {
    const names = await this.#liveNames(account, keyIds);
    return await Promise.all(
      names.map(async (name) => {
        if (name === undefined) return undefined;
        if (scopes.length === 0) return limit;
        const used = (await this.#link.send(["HMGET", this.usedName(account, name), ...scopes])) as (
          | string
          | null
        )[];
        return Math.max(0, limit - Math.max(0, ...used.map(Number)));
      }),
    );
  }

  /** Names of those keys that may be used. */
  async #liveNames(account: string, keyIds: readonly Uint8Array[]): Promise<(KeyName | undefined)[]> {
    if (keyIds.length === 0) return [];
    const [epoch, highest] = (await this.#link.run(
      NEWEST_KEY,
      [this.#name("epoch")],
      [this.#name("serial:"), account],
    )) as [string, number];
    return keyIds.map((keyId) => {
      const name = keyNameOf(keyId);
      const isLive = name?.epoch === epoch && name.serial <= highest && name.serial > highest - LIVE_KEYS;
      return isLive ? name : undefined;
    });
  }

  #name(rest: string): string {
    return this.#prefix + rest;
  }
}
