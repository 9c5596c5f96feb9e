/** The kernels in Node, both builds, and what only the debug build does. */
import { describe, expect, it } from "vitest";
import { KernelDriver } from "../../test/oracle/kernel-driver.ts";
import { kernelsSuite } from "../../test/oracle/kernels-suite.ts";
import { NTT_POLY_BYTES, PUBLIC_ELEMENT_BYTES, RING_DEGREE } from "./kernels.ts";

const runs = process.env.SLOW ? 200 : 5;
kernelsSuite("release", runs);
kernelsSuite("debug", runs);

describe("range asserts", () => {
  const outOfRange: readonly [string, (driver: KernelDriver) => void][] = [
    [
      "a secret coefficient of 2",
      ({ kernels }) => {
        const s = kernels.allocate(2 * RING_DEGREE);
        kernels.shorts(s, RING_DEGREE)[77] = 2;
        kernels.secretToNtt(s, kernels.allocate(NTT_POLY_BYTES));
      },
    ],
    [
      "an activation that does not fit a word",
      (driver) => {
        const { kernels } = driver;
        kernels.addScaled(kernels.allocate(16), driver.put(Float32Array.of(1, 1, 1, 2)), 4, 2 ** 30 * 1.5);
      },
    ],
    [
      "a weight wider than its bits",
      (driver) => {
        const { kernels } = driver;
        const element = kernels.preparePublicElement(
          kernels.allocate(4 * RING_DEGREE),
          kernels.allocate(PUBLIC_ELEMENT_BYTES),
        );
        kernels.transposedProduct(
          element,
          driver.put(Int16Array.of(40)),
          1,
          6,
          kernels.allocate(4 * RING_DEGREE),
        );
      },
    ],
  ];

  it.each(outOfRange)("debug traps on %s, release does not look", (_name, run) => {
    expect(() => run(new KernelDriver("debug"))).toThrow(/unreachable/);
    run(new KernelDriver("release"));
  });
});
