/**
 * Models on another device than the processor. WebGPU runs on a software driver where the machine has one: Chromium's
 * (TACET_TEST_VULKAN names another ICD file). It is looked for once for a process, so that tests run in child processes.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenHfNames } from "../../../test/support/golden-hf.ts";
import { nodeTensorRuntime } from "./tensors.ts";

const ICD = process.env.TACET_TEST_VULKAN ?? "/usr/lib/chromium/vk_swiftshader_icd.json";
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
// Chromium brings the loader of drivers along, which Debian has in a package that may be missing.
const libraries = [dirname(ICD), process.env.LD_LIBRARY_PATH].filter(Boolean).join(":");
const env = { ...process.env, VK_ICD_FILENAMES: ICD, XDG_RUNTIME_DIR: "/tmp", LD_LIBRARY_PATH: libraries };
const noModel = { bytes: new Uint8Array(), externalFiles: [] };

interface Answer {
  readonly name: string;
  readonly worst?: number;
  readonly code?: string;
  readonly message?: string;
}

function onWebGpu(...names: string[]): Answer[] {
  const script = fileURLToPath(new URL("../../../test/support/golden-on-device.ts", import.meta.url));
  const args = ["--import", "tsx", script, "webgpu", ...names];
  const stdio = ["ignore", "pipe", "ignore"] as const;
  return JSON.parse(execFileSync(process.execPath, args, { cwd: ROOT, env, stdio: [...stdio] }).toString());
}

describe("a device that is not here", () => {
  const others = process.platform === "linux" ? (["coreml", "dml"] as const) : [];
  it.each(others)("%s: says what this build and this machine have", async (device) => {
    await expect(nodeTensorRuntime(device).createSession(noModel)).rejects.toMatchObject({
      code: "bad_argument",
      message: expect.stringMatching(/does not have it; this build has cpu.*, and this machine can use cpu/),
      hint: expect.stringMatching(/macOS|Windows/),
    });
  });

  it.skipIf(process.platform !== "linux" || process.arch !== "x64")(
    "cuda without its library: says which is missing and how to get it",
    async () => {
      await expect(nodeTensorRuntime("cuda").createSession(noModel)).rejects.toMatchObject({
        code: "bad_argument",
        message: expect.stringMatching(
          /libonnxruntime_providers_cuda\.so is not in .*; this build has cpu.*, and this machine can use cpu/,
        ),
        hint: expect.stringMatching(/install\.js/),
      });
    },
  );
});

// What each family writes; all together take minutes without a GPU.
const SOME = ["qwen3", "exaone4"];
const names = process.env.SLOW
  ? goldenHfNames().filter((name) => name.startsWith("tiny/"))
  : SOME.map((n) => `tiny/${n}`);

const REFUSED = "tiny/gemma2";

describe.skipIf(!existsSync(ICD))("WebGPU, on a software driver", () => {
  const served = names.filter((name) => name !== REFUSED);
  const answers = new Map<string, Answer>();
  // One process for all: it takes seconds to find the device.
  beforeAll(() => {
    for (const answer of onWebGpu(...served, REFUSED)) answers.set(answer.name, answer);
  }, 240_000);

  it.each(served)("%s gives transformers' logits, cut and with an adapter", (name) => {
    const { worst, message } = answers.get(name)!;
    expect(message).toBeUndefined();
    expect(worst).toBeLessThan(1);
  });

  it("refuses what it has no right operator for, by its name", () => {
    expect(answers.get(REFUSED)).toMatchObject({
      code: "unsupported_model",
      message: "webgpu can't run this model: it has no GroupQueryAttention with softcap",
    });
  });
});
