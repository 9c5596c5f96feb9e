/** `tacet audit` as a user calls it: a provider in its own process, attacks over its socket. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { AuditReport } from "../../audit/report.ts";

const MAIN = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "tacet-audit-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("tacet audit", () => {
  it("attacks a seeded adapter over a socket and writes table, JSON and SVG", () => {
    const [json, plot] = [join(folder, "a.json"), join(folder, "a.svg")];
    const args = ["audit", "--seeded", "64", "--attacks", "unit,prompts", "--json", json, "--plot", plot];
    const table = execFileSync(process.execPath, [MAIN, ...args], { encoding: "utf8" });
    for (const line of table.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
    const report = JSON.parse(readFileSync(json, "utf8")) as AuditReport;
    const [group] = report.groups;
    expect(group).toMatchObject({ inFeatures: 64, rows: 8 });
    const unit = group.attacks.find(({ attack }) => attack === "unit");
    expect(unit?.facts.knownOfAsked).toBe(1);
    expect(unit?.points.at(-1)).toMatchObject({ queries: 64, known: 1 });
    const svg = readFileSync(plot, "utf8");
    expect(svg.startsWith("<svg")).toBe(true);
    expect(svg.match(/<polyline/g)?.length).toBeGreaterThanOrEqual(4);
  });

  it("learns from text that runs through the private model, and refuses too little of it", () => {
    const audit = (...more: string[]) =>
      spawnSync(
        process.execPath,
        [MAIN, "audit", "--attacks", "prompts", "--queries", "64", "--group", "0", ...more],
        {
          encoding: "utf8",
        },
      );
    const report = JSON.parse(audit("--json", "-").stdout) as AuditReport;
    const [{ variant, points }] = report.groups[0].attacks;
    expect(variant).toBe("text");
    expect(points.at(-1)!.queries).toBe(64);
    expect(points.at(-1)!.deltaError).toBeLessThan(0.85);
    const short = join(folder, "short.txt");
    writeFileSync(short, "a few words");
    expect(audit("--text", short)).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^error: the text has/),
    });
  });

  it("tries the rules of keys on the provider, over a restart and a new version", () => {
    const json = join(folder, "keys.json");
    const args = ["audit", "--seeded", "64", "--attacks", "keys,secret,versions", "--json", json];
    const table = execFileSync(process.execPath, [MAIN, ...args], { encoding: "utf8" });
    expect(table).toContain("refused before");
    const report = JSON.parse(readFileSync(json, "utf8")) as AuditReport;
    const factsOf = (name: string) => report.groups[0].attacks.find(({ attack }) => attack === name)?.facts;
    expect(factsOf("keys")).toMatchObject({
      again: 1,
      sameAccount: 1,
      otherAccount: 1,
      otherAccountQuery: 1,
      worn: 1,
      restarted: 1,
      wornAfterRestart: 1,
      versionRefused: 1,
    });
    expect(factsOf("secret")).toMatchObject({ right: 1, refused: 1 });
    expect(Math.abs(factsOf("versions")!.uniformityZ)).toBeLessThan(6);
  });

  it("refuses attacks that do not exist and names those that do", () => {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, "audit", "--attacks", "magic"], {
      encoding: "utf8",
    });
    expect(status).toBe(2);
    expect(stderr).toMatch(/^error: .*\nhint: .*unit/);
  });
});
