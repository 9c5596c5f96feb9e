/** Every object of options that the package takes: what it does not know is an error, and what is missing is named. */
import { describe, expect, it } from "vitest";
import { createBundle, systemRandom } from "../src/entry/bundle.ts";
import { openPrivateModel } from "../src/entry/client.ts";
import { CausalLm, ChatSession, generate, streamAnswer } from "../src/entry/model.ts";
import { connect } from "../src/entry/node.ts";
import { Endpoint, ServedModel } from "../src/entry/openai.ts";
import { serveSockets } from "../src/entry/platform-node.ts";
import { createApiKey, Provider } from "../src/entry/provider.ts";
import { connect as connectInPage } from "../src/entry/web.ts";

/** What is never reached: options are looked at first. */
const NOTHING = undefined as never;

const takers: Record<string, { call: (options: never) => unknown; required?: string }> = {
  connect: { call: (options) => connect(options), required: "provider" },
  "connect of tacet/web": { call: (options) => connectInPage(options), required: "provider" },
  openPrivateModel: { call: (options) => openPrivateModel(NOTHING, options), required: "provider" },
  "CausalLm.load": { call: (options) => CausalLm.load(NOTHING, NOTHING, options) },
  generate: { call: (options) => generate(NOTHING, [1], options).next(), required: "maxNewTokens" },
  streamAnswer: { call: (options) => streamAnswer(NOTHING, NOTHING, [1], options).end },
  ChatSession: { call: (options) => new ChatSession({ newCache: () => ({}) } as never, NOTHING, options) },
  Provider: { call: (options) => new Provider([{ name: "x" } as never], options) },
  createApiKey: { call: (options) => createApiKey(options), required: "budget" },
  createBundle: { call: (options) => createBundle(options, systemRandom), required: "groups" },
  serveSockets: { call: (options) => serveSockets(options), required: "onConnection" },
  Endpoint: { call: (options) => new Endpoint(options), required: "models" },
  "ServedModel.open": { call: (options) => ServedModel.open(options), required: "model" },
};

async function failure(call: () => unknown): Promise<{ code: string; message: string; hint?: string }> {
  try {
    await call();
  } catch (error) {
    return error as { code: string; message: string };
  }
  return { code: "none", message: "" };
}

describe.each(Object.entries(takers))("%s", (_, { call, required }) => {
  it("refuses an option that does not exist, with its name and without its value", async () => {
    const error = await failure(() => call({ nonsenseOption: "secret" } as never));
    expect(error).toMatchObject({
      code: "bad_argument",
      message: expect.stringContaining('has no option "nonsenseOption"'),
      hint: expect.stringMatching(/^it has: /),
    });
    expect(JSON.stringify([error.message, error.hint])).not.toContain("secret");
  });

  it("refuses what is no object", async () => {
    for (const options of [null, "text", []]) {
      expect(await failure(() => call(options as never))).toMatchObject({ code: "bad_argument" });
    }
  });

  if (required === undefined) return;
  it("says what is missing", async () => {
    const { code, hint, message } = await failure(() => call({} as never));
    expect(code).toBe("bad_argument");
    expect(message).toMatch(/ needs \w+$/);
    expect(hint).toMatch(/^as in \{ \w+: /);
  });
});
