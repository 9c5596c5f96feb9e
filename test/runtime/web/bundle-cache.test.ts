import { expect, it } from "vitest";
import { webBundleCache } from "../../../src/platform/web.ts";

it("keeps the bundles that came last, and not all that ever came", async () => {
  const cache = webBundleCache();
  const digests = Array.from({ length: 6 }, (_, i) => String(i).repeat(64));
  for (const digest of digests) await cache.put(digest, new TextEncoder().encode(digest));
  const kept = [];
  for (const digest of digests) kept.push((await cache.get(digest)) !== undefined);
  expect(kept).toEqual([false, false, true, true, true, true]);
  expect(new TextDecoder().decode(await cache.get(digests[5]))).toBe(digests[5]);
});
