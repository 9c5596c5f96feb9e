/** The config file of `tacet provider`: one JSON object whose fields are the settings (settings.ts). */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { TacetError } from "../../base/errors.ts";
import { errnoOf } from "../../platform/node.ts";
import {
  DEFAULTS,
  flagOf,
  type ProviderSettings,
  SETTING_NAMES,
  SETTINGS,
  type Setting,
} from "./settings.ts";

/** Flags before the file's fields, these before the defaults. Throws TacetError bad_argument, io_failed. */
export async function readSettings(
  flags: Partial<ProviderSettings>,
  configFile: string | undefined,
): Promise<ProviderSettings> {
  const fields = configFile === undefined ? {} : await readConfigFile(configFile);
  const settings = { ...DEFAULTS, ...fields, ...flags };
  if (settings.state === undefined || settings.state.length === 0) {
    throw new TacetError("bad_argument", "no adapter to serve was named", {
      hint: "give --state DIR, a folder that 'tacet bundle' wrote, or \"state\" in the file of --config",
    });
  }
  return settings as ProviderSettings;
}

async function readConfigFile(path: string): Promise<Partial<ProviderSettings>> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new TacetError("io_failed", `the config file ${path} cannot be read (${errnoOf(cause)})`, {
      cause,
    });
  });
  return parseConfig(text, path);
}

/**
 * @param path of the file, for messages and as the place that relative paths in it start from
 * @throws TacetError bad_argument
 */
export function parseConfig(text: string, path: string): Partial<ProviderSettings> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message quotes the file, which may hold a password.
    throw new TacetError("bad_argument", `${path} is not JSON`);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new TacetError("bad_argument", `${path} must hold one JSON object`);
  }
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => [name, checkField(name, value, path)]),
  );
}

function checkField(name: string, value: unknown, file: string): unknown {
  const setting = Object.hasOwn(SETTINGS, name) ? (SETTINGS as Record<string, Setting>)[name] : undefined;
  if (setting === undefined) {
    throw new TacetError("bad_argument", `${file}: ${JSON.stringify(name.slice(0, 80))} is not a field`, {
      hint: `fields are ${SETTING_NAMES.join(", ")}`,
    });
  }
  const folder = dirname(resolve(file));
  const wrong = (field: string, allowed: string) =>
    new TacetError("bad_argument", `${file}: ${field} must be ${allowed}`, {
      hint: `docs/provider.md describes it; the flag is ${flagOf(name)}`,
    });
  const isPath = (item: unknown): item is string => typeof item === "string" && item !== "";
  switch (setting.kind) {
    case "integer":
      if (Number.isInteger(value) && (value as number) >= setting.low && (value as number) <= setting.high)
        return value;
      throw wrong(name, `an integer from ${setting.low} to ${setting.high}`);
    case "choice":
      if (setting.values.includes(value as string)) return value;
      throw wrong(name, setting.values.map((each) => JSON.stringify(each)).join(" or "));
    case "switch":
      if (typeof value === "boolean") return value;
      throw wrong(name, "true or false");
    case "text":
      if (isPath(value)) return value;
      throw wrong(name, "a text that is not empty");
    case "path":
      if (isPath(value)) return resolve(folder, value);
      throw wrong(name, "a path");
    case "paths":
    case "texts": {
      const what = setting.kind === "paths" ? "path" : "text";
      if (!Array.isArray(value) || value.length === 0) throw wrong(name, `a list of ${what}s`);
      const bad = value.findIndex((item) => !isPath(item));
      if (bad >= 0) throw wrong(`${name}[${bad}]`, `a ${what}`);
      return what === "path" ? value.map((item: string) => resolve(folder, item)) : value;
    }
  }
}
