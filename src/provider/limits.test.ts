/** Limits that follow from the adapters, and those that do not fit each other. */
import { describe, expect, it } from "vitest";
import { FRAME_OVERHEAD_BYTES, MAX_MESSAGE_BYTES, MAX_PROVIDER_MESSAGE_BYTES } from "../wire/limits.ts";
import { largestKeyPart, limitsFor, MIN_MESSAGE_BYTES } from "./limits.ts";
import type { ServedAdapter } from "./served-adapter.ts";

const bundleOf = (vectorsPerKey: number) => ({ manifest: { parameters: { vectorsPerKey } } });
const served = (...queryBytes: number[]) =>
  ({
    name: "law",
    bundle: bundleOf(100_000),
    layers: queryBytes.map((bytes) => ({ queryBytes: bytes, keyBytes: 10 * bytes })),
  }) as unknown as ServedAdapter;
/** Widest group: 4,096 inputs. */
const ADAPTERS = [served(4800, 19_200), served(6480)];
const refusal = (given: Parameters<typeof limitsFor>[1], adapters = ADAPTERS) => {
  try {
    return limitsFor(adapters, given);
  } catch (error) {
    const { code, message, hint } = error as { code: string; message: string; hint?: string };
    return { code, message, hint };
  }
};

describe("limitsFor", () => {
  it("gives room for the default number of vectors of the widest group, and no more", () => {
    expect(limitsFor(ADAPTERS)).toEqual({
      maxMessageBytes: 240 * 19_200 + FRAME_OVERHEAD_BYTES,
      maxVectors: 240,
      maxInFlight: 64,
    });
    expect(limitsFor([served(10)]).maxMessageBytes).toBe(MIN_MESSAGE_BYTES);
  });

  it("lets one limit follow from the other", () => {
    expect(limitsFor(ADAPTERS, { maxVectors: 1000 }).maxMessageBytes).toBe(
      1000 * 19_200 + FRAME_OVERHEAD_BYTES,
    );
    expect(limitsFor(ADAPTERS, { maxMessageBytes: 65_536 })).toMatchObject({
      maxMessageBytes: 65_536,
      maxVectors: 3,
    });
    expect(limitsFor([served(3_936_000)])).toMatchObject({ maxVectors: 17 });
  });

  it("refuses limits with which a query that is allowed would be too large", () => {
    expect(refusal({ maxMessageBytes: 65_536, maxVectors: 4 })).toEqual({
      code: "bad_argument",
      message:
        "a query of 4 vectors of the widest group needs a message of 77824 bytes, and the largest may have 65536",
      hint: "raise maxMessageBytes to 77824, or lower maxVectors to 3",
    });
    expect(refusal({ maxVectors: 4096 })).toMatchObject({
      code: "bad_argument",
      hint: "lower maxVectors to 3495",
    });
    expect(refusal({ maxMessageBytes: 16_384 })).toMatchObject({ hint: "raise maxMessageBytes to 20224" });
  });

  it.each([{ maxVectors: 0 }, { maxInFlight: Number.NaN }, { maxMessageBytes: 1.5 }, { maxInFlight: "64" }])(
    "refuses %o",
    (given) => {
      expect(refusal(given as never)).toMatchObject({ code: "bad_argument" });
    },
  );

  it("refuses more vectors in a query than a key answers: nobody could ask it", () => {
    const adapters = [{ ...ADAPTERS[0], bundle: bundleOf(200) } as unknown as ServedAdapter];
    expect(limitsFor(adapters).maxVectors).toBe(200);
    expect(refusal({ maxVectors: 257 }, adapters)).toMatchObject({
      code: "bad_argument",
      message: expect.stringContaining("200"),
    });
    const few = [{ ...ADAPTERS[0], bundle: bundleOf(100) } as unknown as ServedAdapter];
    expect(limitsFor(few).maxVectors).toBe(100);
  });

  it("finds the largest part of a key, and refuses one that no message holds", () => {
    expect(largestKeyPart(ADAPTERS)).toBe(192_000);
    expect(() => largestKeyPart([served(MAX_PROVIDER_MESSAGE_BYTES / 10)])).toThrow(
      expect.objectContaining({ code: "bad_state", message: expect.stringContaining("law") }),
    );
  });

  it("refuses a message larger than any side reads", () => {
    expect(refusal({ maxMessageBytes: MAX_MESSAGE_BYTES + 1 })).toMatchObject({ code: "bad_argument" });
  });
});
