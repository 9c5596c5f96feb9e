/** One provider, several adapters on one base: chosen by name, each client gets its own, no names for strangers. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ConnectOptions } from "../../src/client/connect-options.ts";
import { openPrivateModel, type PrivateModel } from "../../src/client/private-model.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { greedyIds, openTestModel, type TestModel, temporaryFolder } from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";
import { type SeededModel, seededModel } from "../support/seeded-models.ts";

const TOKEN = "a-token-of-the-test";
const PROMPT = [1, 17, 203, 44, 5, 99, 120, 7];
const GREEDY = { maxNewTokens: 12, eosIds: [] };
const folder = temporaryFolder();
let seeded: SeededModel;
const models = new Map<string, TestModel>();
const wanted = new Map<string, number[]>();
let provider: ProviderProcess;

beforeAll(async () => {
  seeded = seededModel(folder.path, "llama");
  // They differ in rank and in modules, so neither the groups nor the replies are alike.
  const options = {
    law: { modules: ["q_proj", "v_proj"], rank: 8 },
    medicine: { modules: ["k_proj", "gate_proj", "up_proj", "down_proj"], rank: 3 },
  };
  for (const [name, each] of Object.entries(options)) {
    const test = await openTestModel(seeded.base, seeded.adapter(name, each));
    await test.writeState(join(folder.path, `state-${name}`), { name });
    const plain = await test.plaintext();
    wanted.set(name, await greedyIds(plain, PROMPT, GREEDY));
    await plain.dispose();
    models.set(name, test);
  }
  writeFileSync(join(folder.path, "tokens"), `${TOKEN}\n`, { mode: 0o600 });
  const args = ["--state", join(folder.path, "state-medicine"), "--token-file", join(folder.path, "tokens")];
  provider = await startProvider(join(folder.path, "state-law"), { args });
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

const open = (options: Partial<ConnectOptions> = {}): Promise<PrivateModel> =>
  openPrivateModel(nodePlatform(), {
    base: models.get("law")!.checkpoint,
    provider: provider.url,
    token: TOKEN,
    reconnectMs: 0,
    ...options,
  });

describe("two adapters, one provider", () => {
  it("serves two clients at once, each with the adapter it asked for", async () => {
    expect(wanted.get("law")).not.toEqual(wanted.get("medicine"));
    const names = ["law", "medicine"];
    const clients = await Promise.all(names.map((adapter) => open({ adapter })));
    const got = await Promise.all(clients.map(({ model }) => greedyIds(model, PROMPT, GREEDY)));
    expect(got).toEqual(names.map((name) => wanted.get(name)));
    expect(clients.map(({ bundle }) => bundle.manifest.adapter)).toEqual(names);
    expect(clients[0].bundle.digest).not.toEqual(clients[1].bundle.digest);
    await Promise.all(clients.map((client) => client.close()));
  });

  it("gives the first one to a client that names none", async () => {
    const client = await open();
    expect(client.bundle.manifest.adapter).toBe("law");
    await client.close();
  });

  it("tells an authenticated client the names when it asks for another", async () => {
    await expect(open({ adapter: "tax" })).rejects.toMatchObject({
      code: "unknown_adapter",
      message: expect.stringContaining('"tax"'),
      hint: "it has: law, medicine (--adapter-name)",
    });
  });

  it("tells a stranger nothing, whether the name exists or not", async () => {
    const errors = [];
    for (const adapter of ["law", "tax"]) {
      const error = await open({ adapter, token: "wrong" }).catch(
        (e: unknown) => e as Error & { hint: string },
      );
      expect(error).toMatchObject({ code: "unauthorized" });
      errors.push((error as Error).message + (error as { hint: string }).hint);
    }
    expect(errors[0]).toBe(errors[1]);
    expect(errors[0]).not.toMatch(/medicine/);
  });
});
