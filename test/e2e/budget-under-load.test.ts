/**
 * A budget is spent exactly, by a thousand clients at once, through a provider that is killed on the way, and no key
 * answers more vectors than it may.
 */
import { fork } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { changeKeys, readUsage } from "../../src/library/node-data-folder.ts";
import { createApiKey } from "../../src/provider/api-keys.ts";
import { packedBytes } from "../../src/ring/kernels.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { DEFAULT_PARAMETERS } from "../../src/rlwe/parameters.ts";
import type { BudgetClients, BudgetReport } from "../support/budget-clients.ts";
import { temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { tinyBundle } from "../support/tiny-bundle.ts";

const BUDGET = 10_000;
const PROCESSES = 2;
const CLIENTS = 500;
const KILL_AT = [2_000, 4_000, 6_000];
const CLIENTS_SCRIPT = fileURLToPath(new URL("../support/budget-clients.ts", import.meta.url));
const folder = temporaryFolder();
const data = join(folder.path, "data");
const state = join(folder.path, "state");

afterAll(async () => {
  await stopProviders();
  folder.remove();
});

/** Clients in a process; `latest` is what they last said. */
function startClients(options: BudgetClients) {
  const child = fork(CLIENTS_SCRIPT, [JSON.stringify(options)], { execArgv: ["--import", "tsx"] });
  const clients = {
    latest: { answered: 0, resent: 0, done: false, byKey: {}, worn: 0, failures: [] } as BudgetReport,
    ended: new Promise<void>((resolve) => child.once("exit", () => resolve())),
    kill: () => child.kill("SIGKILL"),
  };
  child.on("message", (report: BudgetReport) => (clients.latest = report));
  return clients;
}

it("1,000 clients get exactly 10,000 vectors, though the provider is killed", {
  timeout: 90_000,
}, async () => {
  const made = await tinyBundle();
  mkdirSync(state);
  writeFileSync(join(state, "bundle.safetensors"), made.bundle);
  writeFileSync(join(state, "private.safetensors"), made.privateState);
  const budget = { vectors: BUDGET, windowSeconds: 0 };
  const { key, record } = createApiKey({ budget }, Date.now(), systemRandom);
  await changeKeys(data, () => [record]);
  const args = ["--data", data];
  let provider = await startProvider(state, { args });
  const { port, url } = provider;
  const all = Array.from({ length: PROCESSES }, (_, process) =>
    startClients({
      url,
      token: key,
      clients: CLIENTS,
      process,
      queryBytes: packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits),
      mostVectors: 8,
      vectorsPerKey: DEFAULT_PARAMETERS.vectorsPerKey + 6,
    }),
  );
  const sum = (of: (report: BudgetReport) => number) =>
    all.reduce((total, { latest }) => total + of(latest), 0);
  try {
    for (const mark of KILL_AT) {
      while (sum(({ answered }) => answered) < mark) await new Promise((resolve) => setTimeout(resolve, 5));
      await provider.kill("SIGKILL");
      provider = await startProvider(state, { port, args });
    }
    await Promise.all(all.map(({ ended }) => ended));
  } finally {
    for (const { kill } of all) kill();
  }
  expect(all.flatMap(({ latest }) => latest.failures)).toEqual([]);
  expect(all.every(({ latest }) => latest.done)).toBe(true);
  expect(sum(({ answered }) => answered)).toBe(BUDGET);
  const charged = readUsage(data).usage();
  expect(charged.map(({ total }) => total)).toEqual([BUDGET]);
  // Each process has its own keys: what one counts of a key is all of it.
  const used = all.flatMap(({ latest }) => Object.values(latest.byKey));
  expect(used.reduce((total, each) => total + each)).toBe(BUDGET);
  expect(Math.max(...used)).toBeLessThanOrEqual(DEFAULT_PARAMETERS.vectorsPerKey);
  expect(sum(({ worn }) => worn)).toBeGreaterThan(0);
  // Killed while it was at work: some answers were lost, and their queries came again and were not charged again.
  expect(sum(({ resent }) => resent)).toBeGreaterThan(0);
});
