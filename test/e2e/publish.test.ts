/** `tacet bundle --publish`, and what bundle and inspect say of it: the command line, as its users run it. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { temporaryFolder } from "../support/models.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const GOLDEN = join(ROOT, "test/fixtures/golden-peft");
const folder = temporaryFolder();
afterAll(() => folder.remove());

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function tacet(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(ROOT, "dist/cli/main.js"), ...args], (error, stdout, stderr) => {
      resolve({ code: (error?.code as number | undefined) ?? 0, stdout, stderr });
    });
  });
}

const bundle = (name: string, out: string, ...more: readonly string[]) =>
  tacet(
    ...["bundle", "--base", join(GOLDEN, name), "--adapter", join(GOLDEN, name, "adapter")],
    ...["--name", "law", "--out", join(folder.path, out), ...more],
  );

it.each([
  ["dora", "dora-scales", /row scales of DoRA \(dora-scales\)/],
  ["bias-all", "bias", /biases \(bias\)/],
  ["embed-and-head-tied", "tied-head", /embedding and head share \(tied-head\)/],
])("%s makes a bundle with --publish %s only, and says what that tells", async (name, part, message) => {
  const refused = await bundle(name, name);
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
  expect(refused.stderr).toMatch(new RegExp(`hint: publish them with --publish ${part} `));
  expect(existsSync(join(folder.path, name, "bundle.safetensors"))).toBe(false);

  const made = await bundle(name, name, "--publish", part);
  expect(made).toMatchObject({ code: 0, stderr: "" });
  expect(made.stdout).toMatch(/in the clear +.*: tells /);
  expect(made.stdout).toMatch(/would learn/);

  for (const source of [
    ["--state", join(folder.path, name)],
    ["--bundle", join(folder.path, name, "bundle.safetensors")],
  ]) {
    const { stdout } = await tacet("inspect", ...source, "--json");
    expect(JSON.parse(stdout)).toMatchObject({ published: [{ part, tells: expect.any(String) }] });
  }
  const { stdout } = await tacet("inspect", "--adapter", join(GOLDEN, name, "adapter"), "--json");
  expect(JSON.parse(stdout)).toMatchObject({ inTheClear: [part] });
});

it("names the parts that there are", async () => {
  const { code, stderr } = await bundle("dora", "none", "--publish", "norm,weights");
  expect(code).toBe(2);
  expect(stderr).toMatch(
    /no part "weights".*\nhint: parts are norm, bias, dora-scales, modules, tokens, tied-head/s,
  );
});
