/**
 * S of the keys that are in use, in kernel memory: those that were used last, wiped when others take their room. What is
 * not here is derived again from the key's seed, which costs about as much as answering some vectors.
 */
import type { GroupMark } from "../pll/marks.ts";
import type { LayerSecret, ProviderLayer } from "../pll/provider-layer.ts";

/** A key of one group. */
export interface GroupKey {
  /** Unlike that of any other key of any group. */
  readonly name: string;
  /** Made anew at each call. Secret; whoever has it wipes it. */
  seed(): Uint8Array;
  /** Of accounts that are marked. */
  mark?(): GroupMark;
}

/** S has some kB for a group: with this a few dozen keys of an 8B model's adapter of rank 8. */
const MOST_BYTES = 64 << 20;

interface HeldSecret {
  readonly layer: ProviderLayer;
  readonly secret: LayerSecret;
  lastUse: number;
}

export class LayerSecrets {
  readonly #held = new Map<string, HeldSecret>();
  #mostBytes: number;
  /** Uses so far. */
  #uses = 0;
  #bytes = 0;

  constructor(mostBytes = MOST_BYTES) {
    this.#mostBytes = mostBytes;
  }

  /** Kernel memory that holds secrets. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Groups of keys that are held. */
  get count(): number {
    return this.#held.size;
  }

  /**
   * Calls `use` with S, which is good until `use` returns.
   * @param known the key's seed, where the caller has it, and wipes it
   */
  use<T>(layer: ProviderLayer, key: GroupKey, use: (secret: LayerSecret) => T, known?: Uint8Array): T {
    const { name } = key;
    let held = this.#held.get(name);
    if (held === undefined) {
      this.#makeRoom(layer.secretBytes);
      const seed = known ?? key.seed();
      held = { layer, secret: layer.deriveSecret(seed), lastUse: 0 };
      if (known === undefined) seed.fill(0);
      this.#bytes += layer.secretBytes;
      this.#held.set(name, held);
    }
    held.lastUse = ++this.#uses;
    try {
      return use(held.secret);
    } finally {
      // One that is too large for the room stays for its use alone.
      if (this.#bytes > this.#mostBytes) this.#wipe(name, held);
    }
  }

  /** Wipes all. What is still used is derived for each use and wiped after it. */
  close(): void {
    this.#mostBytes = 0;
    this.#makeRoom(0);
  }

  /** Wipes those that were used longest ago. To look for them costs little beside deriving the one that needs the room. */
  #makeRoom(bytes: number): void {
    while (this.#held.size > 0 && this.#bytes + bytes > this.#mostBytes) {
      let oldest: [string, HeldSecret] | undefined;
      for (const entry of this.#held) {
        if (oldest === undefined || entry[1].lastUse < oldest[1].lastUse) oldest = entry;
      }
      this.#wipe(...(oldest as [string, HeldSecret]));
    }
  }

  #wipe(name: string, { layer, secret }: HeldSecret): void {
    layer.releaseSecret(secret);
    this.#held.delete(name);
    this.#bytes -= layer.secretBytes;
  }
}
