/** Secrets in kernel memory: the ones used last stay, the others are wiped. */
import { beforeEach, describe, expect, it } from "vitest";
import type { ProviderLayer } from "../pll/provider-layer.ts";
import { LayerSecrets } from "./layer-secrets.ts";

/** A layer that notes what is derived and wiped; S is its seed's first byte. */
let derived: number[];
let wiped: number[];
const layerOf = (secretBytes: number) =>
  ({
    secretBytes,
    deriveSecret: (seed: Uint8Array) => {
      derived.push(seed[0]);
      return seed[0];
    },
    releaseSecret: (secret: unknown) => wiped.push(secret as number),
  }) as unknown as ProviderLayer;
const layer = layerOf(10);
const seeds: Uint8Array[] = [];
const keyOf = (n: number) => ({
  // Some names with several groups, some groups of several names.
  name: `key ${n >> 1}`,
  group: n & 1,
  seed: () => {
    const seed = Uint8Array.of(n);
    seeds.push(seed);
    return seed;
  },
});

beforeEach(() => {
  derived = [];
  wiped = [];
});

describe("LayerSecrets", () => {
  it("derives once, keeps those used last, wipes the others and each seed", () => {
    const secrets = new LayerSecrets(30);
    const use = (n: number) => secrets.use(layer, keyOf(n), (secret) => expect(secret).toBe(n));
    for (const n of [1, 2, 3, 1, 4, 1, 2]) use(n);
    expect(derived).toEqual([1, 2, 3, 4, 2]);
    expect(wiped).toEqual([2, 3]);
    expect([secrets.count, secrets.bytes]).toEqual([3, 30]);
    expect(seeds.every(([byte]) => byte === 0)).toBe(true);
  });

  it("keeps one that is too large for its use alone", () => {
    const secrets = new LayerSecrets(30);
    secrets.use(layer, keyOf(1), () => {});
    secrets.use(layerOf(31), keyOf(2), () => expect(wiped).toEqual([1]));
    expect(wiped).toEqual([1, 2]);
    expect([secrets.count, secrets.bytes]).toEqual([0, 0]);
  });

  it("closed, has wiped all and keeps nothing that comes later", () => {
    const secrets = new LayerSecrets();
    for (const n of [1, 2]) secrets.use(layer, keyOf(n), () => {});
    secrets.close();
    expect(wiped).toEqual([1, 2]);
    secrets.use(layer, keyOf(3), () => {});
    expect(wiped).toEqual([1, 2, 3]);
    expect(secrets.count).toBe(0);
  });

  it("wipes one that is worn out, and derives it again where something is asked once more", () => {
    const secrets = new LayerSecrets();
    const use = (n: number) => secrets.use(layer, keyOf(n), () => {});
    for (const n of [2, 3, 4]) use(n);
    secrets.forget(keyOf(3));
    secrets.forget(keyOf(9));
    expect(wiped).toEqual([3]);
    expect([secrets.count, secrets.bytes]).toEqual([2, 20]);
    for (const n of [2, 3, 4]) use(n);
    expect(derived).toEqual([2, 3, 4, 3]);
  });

  it("wipes a seed that nothing could be derived from, and holds nothing", () => {
    const secrets = new LayerSecrets();
    const failing = {
      ...layer,
      deriveSecret: () => {
        throw new RangeError("no memory");
      },
    } as unknown as ProviderLayer;
    expect(() => secrets.use(failing, keyOf(5), () => {})).toThrow("no memory");
    expect(seeds.at(-1)).toEqual(Uint8Array.of(0));
    expect([secrets.count, secrets.bytes]).toEqual([0, 0]);
  });

  it("is found only where it is held, and stays then as after a use", () => {
    const secrets = new LayerSecrets(30);
    expect(secrets.find(keyOf(1))).toBeUndefined();
    for (const n of [1, 2, 3]) secrets.use(layer, keyOf(n), () => {});
    expect(secrets.find(keyOf(1))).toBe(1);
    secrets.use(layer, keyOf(4), () => {});
    expect([1, 2, 3, 4].map((n) => secrets.find(keyOf(n)))).toEqual([1, undefined, 3, 4]);
    expect(derived).toEqual([1, 2, 3, 4]);
  });

  it("is as good after a use that failed", () => {
    const secrets = new LayerSecrets(30);
    const failing = () => {
      throw new Error("bad");
    };
    expect(() => secrets.use(layer, keyOf(1), failing)).toThrow("bad");
    secrets.use(layer, keyOf(1), (secret) => expect(secret).toBe(1));
    expect(derived).toEqual([1]);
  });
});
