// Versions of Tacet beside each other: each is a folder, a clone that is built.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// biome-ignore lint/suspicious/noExplicitAny: the modules of another version have no types here
export type Modules = any;

export interface Version {
  readonly name: string;
  readonly folder: string;
  readonly load: (file: string) => Promise<Modules>;
}

export function versionAt(name: string, folder: string): Version {
  const dist = join(folder, "dist");
  if (!existsSync(dist)) throw new Error(`${folder} is not built: run npm ci there`);
  return { name, folder, load: (file) => import(pathToFileURL(join(dist, file)).href) };
}

/** What a version's package exports, by the name that package.json has for it. */
export function exportsOf(folder: string): (name: string) => Promise<Modules> {
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return (name) => {
    const target = exports[name];
    const file = join(folder, typeof target === "string" ? target : (target?.default ?? ""));
    if (!existsSync(file)) throw new Error(`${folder} does not export ${name}`);
    return import(pathToFileURL(file).href);
  };
}

/** A version's provider in a separate process. */
export async function startProvider(
  folder: string,
  state: string,
  args: readonly string[] = [],
): Promise<{ child: ChildProcess; url: string }> {
  const main = join(folder, "dist/cli/main.js");
  const child = spawn(process.execPath, [main, "provider", "--state", state, "--port", "0", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, log] = ["", ""];
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const url = await new Promise<string>((found, failed) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
      const match = /listening on (wss?:\/\/\S+)/.exec(out);
      if (match) found(match[1]);
    });
    child.once("exit", () => failed(new Error(`the provider of ${folder} did not start: ${log}`)));
  });
  return { child, url };
}

/** Has a version's command line make a bundle in `state`, a new folder, and starts its provider. */
export async function serveAdapter(
  folder: string,
  { base, adapter, state }: { readonly base: string; readonly adapter: string; readonly state: string },
): Promise<{ child: ChildProcess; url: string }> {
  const args = ["--base", base, "--adapter", adapter, "--out", state, "--name", "adapter"];
  execFileSync(process.execPath, [join(folder, "dist/cli/main.js"), "bundle", ...args], { stdio: "ignore" });
  return await startProvider(folder, state);
}
