import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/**
 * Rooms whose tests leave no state in a module and put back what they change globally: their files share the modules of a
 * worker, which saves loading them anew for each file.
 */
const SHARING =
  "src/{base,ring,rlwe,pll,wire,weights,bundle,text,model,generation,provider,client,audit,openai}/**/*.test.ts";
const TESTS = ["src/**/*.test.ts", "test/**/*.test.ts"];
const ELSEWHERE = "test/runtime/**";
const TIMES = { testTimeout: 120_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    pool: "forks",
    // Two even on one core: many tests wait for processes that they have started.
    maxWorkers: Math.max(2, availableParallelism()),
    projects: [
      { test: { ...TIMES, name: "rooms", include: [SHARING], isolate: false } },
      { test: { ...TIMES, name: "all else", include: TESTS, exclude: [SHARING, ELSEWHERE] } },
    ],
  },
});
