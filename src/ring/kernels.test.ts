/** The kernels in Node, both builds, and what only the debug build does. */
import { describe, expect, it } from "vitest";
import { KernelDriver } from "../../test/oracle/kernel-driver.ts";
import { kernelsSuite } from "../../test/oracle/kernels-suite.ts";
import { RING_DEGREE } from "./kernels.ts";

const runs = process.env.SLOW ? 200 : 5;
kernelsSuite("release", runs);
kernelsSuite("debug", runs);

describe("range asserts", () => {
  const outOfRange: readonly [string, (driver: KernelDriver) => void][] = [
    [
      "an activation that does not fit 16 bits",
      (driver) => {
        const { kernels } = driver;
        kernels.scaleActivation(driver.put(Float32Array.of(1, 1, 1, 2)), 4, 2 ** 14, kernels.allocate(16));
      },
    ],
    [
      "an activation that is not a number",
      (driver) => {
        const { kernels } = driver;
        kernels.scaleActivation(driver.put(Float32Array.of(1, Number.NaN)), 2, 1, kernels.allocate(16));
      },
    ],
    [
      "small integers so long that their products may not be exact",
      (driver) => {
        const { kernels } = driver;
        const small = driver.put(new Int16Array(RING_DEGREE).fill(257));
        const element = driver.prepareElement(new Uint32Array(RING_DEGREE), false);
        kernels.addProducts([{ element, small, count: RING_DEGREE }], kernels.allocate(16), 4);
      },
    ],
  ];

  it.each(outOfRange)("debug traps on %s, release does not look", (_name, run) => {
    expect(() => run(new KernelDriver("debug"))).toThrow(/unreachable/);
    run(new KernelDriver("release"));
  });
});
