import { describe, expect, it } from "vitest";
import type { BundleManifest } from "../bundle/manifest.ts";
import { DEFAULT_PARAMETERS } from "../rlwe/parameters.ts";
import { checkGroups } from "./check-groups.ts";

const FINGERPRINT = new Uint8Array(32).fill(0x5a);
const INPUTS = [["0.q", "0.k", "0.v"], ["0.o"], ["0.gate", "0.up"], ["0.down"], ["1.q", "1.k", "1.v"]];

function manifestOf(groups: readonly (readonly string[])[]): BundleManifest {
  return {
    version: 2,
    adapter: "a",
    bundleId: "00".repeat(16),
    baseFingerprint: "5a".repeat(32),
    keySigner: "00".repeat(32),
    parameters: DEFAULT_PARAMETERS,
    groups: groups.map((names) => ({
      layer: 0,
      inFeatures: 8,
      modules: names.map((name) => ({ name, outFeatures: 4, rows: 4 })),
    })),
  };
}

const check = (...groups: string[][]) => checkGroups(manifestOf(groups), FINGERPRINT, INPUTS);
const refused = expect.objectContaining({ code: "bad_bundle" });

describe("checkGroups", () => {
  it("takes groups of the model in its order, with some or all modules", () => {
    check(["0.q", "0.v"], ["0.down"], ["1.q", "1.k", "1.v"]);
    check(["0.v", "0.q"]);
  });

  it("refuses unknown modules, mixed inputs, another order, a place or a module twice", () => {
    for (const groups of [
      [["0.x"]],
      [["0.q", "0.x"]],
      [["0.q", "0.o"]],
      [["0.down"], ["0.q"]],
      [["0.q"], ["0.k"]],
      [["0.q", "0.q"]],
      [["0.q"], ["0.q"]],
      [["__proto__"]],
    ]) {
      expect(() => check(...groups)).toThrow(refused);
    }
  });

  it("refuses another base model, whatever the groups are", () => {
    expect(() => checkGroups(manifestOf([["0.q"]]), new Uint8Array(32), INPUTS)).toThrow(
      expect.objectContaining({ code: "wrong_base_model" }),
    );
  });
});
