import { describe, expect, it } from "vitest";
import type { Tensor } from "../base/platform.ts";
import { KeptRows } from "./kept-rows.ts";

const freed: string[] = [];
const tensor = (name: string): Tensor => ({
  type: "float32",
  dims: [],
  data: new Float32Array(0),
  free: () => freed.push(name),
});
const freedNow = () => freed.splice(0).sort().join(" ");

describe("KeptRows", () => {
  it("gives what was stored last, and frees what that replaces", () => {
    const rows = new KeptRows();
    const [first, second] = ["a", "b"].map(tensor);
    rows.store("k", first);
    expect(rows.current("k")).toBe(first);
    expect(rows.current("v")).toBeUndefined();
    rows.store("k", second);
    expect(rows.current("k")).toBe(second);
    expect(freedNow()).toBe("a");
    rows.dispose();
    rows.dispose();
    expect(freedNow()).toBe("b");
  });

  it("shares with another one: the last one frees", () => {
    const [one, two] = [new KeptRows(), new KeptRows()];
    one.store("k", tensor("a"));
    two.share(one);
    one.store("k", tensor("b"));
    expect(freedNow()).toBe("");
    two.store("k", tensor("c"));
    expect(freedNow()).toBe("a");
    one.dispose();
    expect(freedNow()).toBe("b");
    two.dispose();
    expect(freedNow()).toBe("c");
  });
});
