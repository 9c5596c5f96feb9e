import { describe, expect, it } from "vitest";
import { toHex } from "../../base/bytes.ts";
import { portableSha256 } from "../../bundle/key-signature.ts";
import { nodeSha256 } from "../node/sha256.ts";
import { webSha256 } from "./sha256.ts";

const PARTS = [Uint8Array.of(1, 2, 3), new Uint8Array(0), new Uint8Array(100_000).fill(7)];

describe("SHA-256", () => {
  it.each(["none", "some"])("is the same of every platform: %s", async (which) => {
    const parts = which === "none" ? [] : PARTS;
    const want = toHex(portableSha256(parts));
    expect(toHex(nodeSha256(parts))).toBe(want);
    const web = webSha256();
    if (web === undefined) throw new Error("this runtime has no crypto.subtle");
    expect(toHex(await web(parts))).toBe(want);
  });

  it("is not a page's own where the browser does not trust it", () => {
    expect(webSha256(null)).toBeUndefined();
  });
});
