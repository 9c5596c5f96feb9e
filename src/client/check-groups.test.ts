import { describe, expect, it } from "vitest";
import type { BundleManifest } from "../bundle/manifest.ts";
import type { BaseIdentity } from "../model/base-identity.ts";
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
    baseVectorsFingerprint: "a5".repeat(32),
    keySigner: "00".repeat(32),
    parameters: DEFAULT_PARAMETERS,
    groups: groups.map((names) => ({
      layer: 0,
      inFeatures: 8,
      modules: names.map((name) => ({ name, outFeatures: 4, rows: 4 })),
    })),
  };
}

const check = (...groups: string[][]) =>
  checkGroups(manifestOf(groups), { fingerprint: FINGERPRINT, knownBy: "weights" }, INPUTS);
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

  const groups = manifestOf([["0.q"]]);
  const wrong = expect.objectContaining({ code: "wrong_base_model" });
  const checkAs = (byte: number, knownBy: BaseIdentity["knownBy"], manifest = groups) =>
    checkGroups(manifest, { fingerprint: new Uint8Array(32).fill(byte), knownBy }, INPUTS);

  it("refuses another base model, whatever the groups are", () => {
    expect(() => checkAs(0, "weights")).toThrow(wrong);
    expect(() => checkAs(0, "vectors")).toThrow(wrong);
  });

  it("takes a copy by its vectors, and an original by its weights alone", () => {
    checkAs(0x5a, "weights");
    checkAs(0xa5, "vectors");
    expect(() => checkAs(0xa5, "weights")).toThrow(wrong);
    expect(() => checkAs(0x5a, "vectors")).toThrow(wrong);
    expect(() => checkAs(0xa5, "vectors", { ...groups, baseVectorsFingerprint: undefined })).toThrow(wrong);
  });
});
