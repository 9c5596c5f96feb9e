/**
 * S of the keys that are in use, in kernel memory: those that were used last, wiped when somebody says that they are worn
 * out, or others take their room. What is not here is derived again from the key's seed, which costs about as much as
 * answering some vectors.
 */
import type { GroupMark } from "../pll/marks.ts";
import type { ProviderLayer } from "../pll/provider-layer.ts";
import type { LayerSecret } from "../pll/secret-stream.ts";

/** Which key of one group. */
export interface GroupKeyName {
  /** Of all groups of the key, unlike that of any other key: with the group it stands for S. No secret. */
  readonly name: string;
  readonly group: number;
}

/** A key of one group. */
export interface GroupKey extends GroupKeyName {
  /** Made anew at each call. Secret; whoever has it wipes it. */
  seed(): Uint8Array;
  /** Of accounts that are marked. */
  readonly mark?: (() => GroupMark) | undefined;
}

/** S has some kB for a group: with this a few dozen keys of an 8B model's adapter of rank 8. */
const MOST_BYTES = 64 << 20;

interface HeldSecret {
  readonly key: GroupKey;
  readonly layer: ProviderLayer;
  readonly secret: LayerSecret;
  lastUse: number;
}

export class LayerSecrets {
  /** By name and group: a text that is made of both would have to be hashed for each query. */
  readonly #held = new Map<string, Map<number, HeldSecret>>();
  #mostBytes: number;
  #bytes = 0;
  #count = 0;
  /** Uses so far. */
  #uses = 0;

  constructor(mostBytes = MOST_BYTES) {
    this.#mostBytes = mostBytes;
  }

  /** Kernel memory that holds secrets. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Groups of keys that are held. */
  get count(): number {
    return this.#count;
  }

  /**
   * Calls `use` with S, which is good until `use` returns.
   *
   * @param seed the key's, where the caller has it, and wipes it
   */
  use<T>(layer: ProviderLayer, key: GroupKey, use: (secret: LayerSecret) => T, seed?: Uint8Array): T {
    const held = this.#held.get(key.name)?.get(key.group) ?? this.#derive(layer, key, seed);
    held.lastUse = ++this.#uses;
    try {
      return use(held.secret);
    } finally {
      // One that is too large for the room stays for its use alone.
      if (this.#bytes > this.#mostBytes) this.#wipe(held);
    }
  }

  /** Wipes S of a key that nobody asks under any more, but to repeat what was asked. */
  forget({ name, group }: GroupKeyName): void {
    const held = this.#held.get(name)?.get(group);
    if (held !== undefined) this.#wipe(held);
  }

  /** S where it is held, good until the caller does something else with secrets; nothing is derived for it. */
  find({ name, group }: GroupKeyName): LayerSecret | undefined {
    const held = this.#held.get(name)?.get(group);
    if (held !== undefined) held.lastUse = ++this.#uses;
    return held?.secret;
  }

  /** Wipes all. What is still used is derived for each use and wiped after it. */
  close(): void {
    this.#mostBytes = 0;
    this.#makeRoom(0);
  }

  #derive(layer: ProviderLayer, key: GroupKey, known: Uint8Array | undefined): HeldSecret {
    this.#makeRoom(layer.secretBytes);
    const seed = known ?? key.seed();
    let secret: LayerSecret;
    try {
      secret = layer.deriveSecret(seed);
    } finally {
      if (known === undefined) seed.fill(0);
    }
    const held = { key, layer, secret, lastUse: 0 };
    const groups = this.#held.get(key.name) ?? new Map<number, HeldSecret>();
    this.#held.set(key.name, groups.set(key.group, held));
    this.#bytes += layer.secretBytes;
    this.#count++;
    return held;
  }

  /** Wipes those that were used longest ago. To look for them costs little beside deriving what needs the room. */
  #makeRoom(bytes: number): void {
    while (this.#count > 0 && this.#bytes + bytes > this.#mostBytes) {
      let oldest: HeldSecret | undefined;
      for (const groups of this.#held.values()) {
        for (const held of groups.values())
          if (oldest === undefined || held.lastUse < oldest.lastUse) oldest = held;
      }
      this.#wipe(oldest as HeldSecret);
    }
  }

  #wipe({ key: { name, group }, layer, secret }: HeldSecret): void {
    layer.releaseSecret(secret);
    const groups = this.#held.get(name);
    groups?.delete(group);
    if (groups?.size === 0) this.#held.delete(name);
    this.#bytes -= layer.secretBytes;
    this.#count--;
  }
}
