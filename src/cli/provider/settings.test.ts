/** The table of settings against what it stands for: flags, the config file, docs/provider.md. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parseConfig, readSettings } from "./config-file.ts";
import { settingOptions } from "./flags.ts";
import { flagOf, SETTING_NAMES, SETTINGS, type Setting, shownSettings } from "./settings.ts";

const DOCS = readFileSync(fileURLToPath(new URL("../../../docs/provider.md", import.meta.url)), "utf8");
const parse = (value: unknown) => parseConfig(JSON.stringify(value), "/etc/tacet/provider.json");

describe("settings", () => {
  it("are all documented, with flag, range and default, and nothing else is", () => {
    const rows = [...DOCS.matchAll(/^\| `(\w+)` \| `(--[\w-]+)` \| (.*?) \| (.*?) \|/gm)];
    expect(rows.map(([, field]) => field)).toEqual(expect.arrayContaining([...SETTING_NAMES]));
    expect(rows).toHaveLength(SETTING_NAMES.length);
    for (const [, field, flag, value, shown] of rows) {
      const setting: Setting = SETTINGS[field as keyof typeof SETTINGS];
      expect(flag).toBe(flagOf(field));
      if (setting.kind === "integer") expect(value).toBe(`${setting.low} to ${setting.high}`);
      if (setting.kind === "choice") {
        expect(value).toBe(setting.values.map((each) => `\`"${each}"\``).join(", "));
      }
      if (setting.default === undefined) continue;
      expect(shown.replaceAll("`", "")).toBe(JSON.stringify(setting.default));
    }
  });

  it("are flags one to one, whose names commander reads back as the fields'", () => {
    expect(settingOptions().map((option) => option.attributeName())).toEqual([...SETTING_NAMES]);
  });

  it("are shown without those that may be secret", () => {
    const shown = shownSettings({ host: "h", state: ["s"] } as never);
    expect(shown).toEqual({ host: "h", state: ["s"] });
  });
});

describe("the config file", () => {
  it("gives its fields, paths from its own folder", () => {
    expect(parse({ state: ["law", "/abs"], port: 0, unmetered: true, data: "../d", host: "::1" })).toEqual({
      state: ["/etc/tacet/law", "/abs"].map((path) => resolve(path)),
      port: 0,
      unmetered: true,
      data: resolve("/etc/d"),
      host: "::1",
    });
  });

  it("refuses a wrong value of each kind of field, and names file, field and what is allowed", () => {
    const wrong: Record<Setting["kind"], unknown[]> = {
      integer: ["1", 1.5, -1, 2 ** 40, null, true],
      choice: ["other", 1, null],
      switch: ["true", 1, null],
      text: ["", 1, null],
      path: ["", 1, null, ["a"]],
      paths: ["a", [], null],
      texts: ["a", [], null],
    };
    for (const name of SETTING_NAMES) {
      for (const value of wrong[SETTINGS[name].kind]) {
        const message = `/etc/tacet/provider.json: ${name} must be `;
        expect(() => parse({ [name]: value })).toThrow(
          expect.objectContaining({ code: "bad_argument", message: expect.stringContaining(message) }),
        );
      }
    }
    expect(() => parse({ state: ["a", 1] })).toThrow(/state\[1\] must be a path/);
    expect(() => parse({ port: 65_536 })).toThrow(/port must be an integer from 0 to 65535/);
    expect(() => parse({ logLevel: "loud" })).toThrow(/logLevel must be "debug" or "info"/);
  });

  it("refuses unknown fields, other JSON, and what is none without quoting it", () => {
    expect(() => parse({ ports: 1 })).toThrow(/"ports" is not a field/);
    expect(() => parse({ __proto__x: 1 })).toThrow(/is not a field/);
    expect(() => parseConfig('{"toString": 1}', "f")).toThrow(/"toString" is not a field/);
    for (const value of [[], 1, null, "a"]) expect(() => parse(value)).toThrow(/one JSON object/);
    expect(() => parseConfig('{"password": hunter2', "f")).toThrow(/^f is not JSON$/);
  });

  it("comes after flags and before defaults", async () => {
    const dir = mkdtempSync(join(tmpdir(), "tacet-config-"));
    try {
      const file = join(dir, "provider.json");
      writeFileSync(file, JSON.stringify({ state: ["a"], port: 1, maxInFlight: 3 }));
      const settings = await readSettings({ port: 2 }, file);
      expect(settings).toMatchObject({ state: [join(dir, "a")], port: 2, maxInFlight: 3, graceSeconds: 20 });
      await expect(readSettings({}, join(dir, "none"))).rejects.toMatchObject({ code: "io_failed" });
      await expect(readSettings({}, undefined)).rejects.toMatchObject({ code: "bad_argument" });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
