import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const TESTS = ["src/**/*.test.ts", "test/**/*.test.ts"];
const ELSEWHERE = "test/runtime/**";
/** What changes a process for good. All other files share the modules of a worker: to load them anew takes a second. */
const ALONE = [
  "src/cli/clear-token.test.ts",
  "test/e2e/families-in-wasm.test.ts",
  "test/e2e/library.test.ts",
];
/** The longest files, longest first: one of them as the last would be waited for alone. */
const LONG = [
  "test/e2e/prompts-over-a-line.test.ts",
  "test/e2e/drafts.test.ts",
  "src/cli/cli.test.ts",
  "test/e2e/private-equals-plaintext.test.ts",
  "src/platform/node/devices.test.ts",
  "test/e2e/adapter-text.test.ts",
  "test/e2e/trace.test.ts",
  "src/model/gguf.test.ts",
  "test/e2e/quantized-in-wasm.test.ts",
  "test/e2e/golden-folders.test.ts",
  "test/e2e/openai-clients.test.ts",
  "src/generation/drafts/drafts.test.ts",
  "test/e2e/packed-bases.test.ts",
  "src/cli/keys.test.ts",
  "src/cli/chat.test.ts",
  "src/ring/kernels.test.ts",
  "test/e2e/hostile-provider.test.ts",
  "src/model/golden-hf.test.ts",
  "test/e2e/provider-lost.test.ts",
  "src/trace/trace.test.ts",
  "test/e2e/provider-memory.test.ts",
  "src/openai/endpoint.test.ts",
  "src/provider/key-epochs.test.ts",
  "src/platform/node/files/lock-file.test.ts",
  "src/audit/toy/toy-report.test.ts",
  "src/trace/attacks.test.ts",
  "src/model/run/wavefront.test.ts",
  "test/e2e/provider-crowd.test.ts",
];
/** For all files. The heap may grow before V8 looks through it: a model's tensors live for a moment, and collecting them took a sixth of the time. */
const ALL = {
  setupFiles: ["test/support/equal-bytes.ts"],
  testTimeout: 120_000,
  hookTimeout: 120_000,
  execArgv: ["--heap-growing-percent=400", "--max-semi-space-size=64"],
};

// Processes that tests start read these certificates before all else; none of them asks anybody outside.
delete process.env.NODE_EXTRA_CA_CERTS;

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex((path) => moduleId.endsWith(path));
      return at < 0 ? LONG.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    pool: "forks",
    // One more than cores: many tests wait for processes that they have started, or for a line.
    maxWorkers: 1 + availableParallelism(),
    sequence: { sequencer: LongestFirst },
    projects: [
      { test: { ...ALL, name: "sharing", include: TESTS, exclude: [...ALONE, ELSEWHERE], isolate: false } },
      { test: { ...ALL, name: "alone", include: ALONE } },
    ],
  },
});
