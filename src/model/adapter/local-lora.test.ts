import { describe, expect, it } from "vitest";
import { randomWords, seededRandom } from "../../../test/oracle/seeded-random.ts";
import { nodeFileTree } from "../../platform/node/files/file-tree.ts";
import { type LoraModule, openLoraAdapter } from "../../weights/lora-adapter.ts";
import { groupAdaptedModules } from "./adapted-groups.ts";
import { LocalLora } from "./local-lora.ts";

const random = seededRandom("local lora");
const uniform = (length: number) =>
  Float32Array.from(randomWords(random, length), (word) => word / 2 ** 31 - 1);

function module(
  name: string,
  inFeatures: number,
  outFeatures: number,
  rank: number,
  scale: number,
): LoraModule {
  return {
    name,
    rank,
    inFeatures,
    outFeatures,
    scale,
    a: uniform(rank * inFeatures),
    b: uniform(outFeatures * rank),
  };
}

/** scale·B·(A·x), by the definition. */
function expected(
  { a, b, rank, inFeatures, outFeatures, scale }: LoraModule,
  x: Float32Array,
  token: number,
): number[] {
  const u = Array.from({ length: rank }, (_, k) => {
    let sum = 0;
    for (let j = 0; j < inFeatures; j++) sum += a[k * inFeatures + j] * x[token * inFeatures + j];
    return sum;
  });
  return Array.from(
    { length: outFeatures },
    (_, i) => scale * u.reduce((sum, value, k) => sum + b[i * rank + k] * value, 0),
  );
}

describe("LocalLora", () => {
  it("gives scale·B·(A·x) for each module and token, also with calls interleaved", async () => {
    const modules = [
      module("h.0.q", 13, 5, 3, 2),
      module("h.0.v", 13, 7, 1, 0.5),
      module("h.1.q", 9, 6, 8, -1.25),
    ];
    const adapter = { modules: new Map(modules.map((entry) => [entry.name, entry])) };
    const groups = groupAdaptedModules(modules, [["h.0.q", "h.0.v"], ["h.1.q"]]);
    const lora = new LocalLora({ ...adapter, groups });
    expect(lora.groups).toBe(groups);
    const xs = [uniform(4 * 13), uniform(3 * 9), uniform(13)];
    const pending = [lora.begin(0, xs[0], 4), lora.begin(1, xs[1], 3), lora.begin(0, xs[2], 1)];
    const [first, second, third] = await Promise.all(pending.map((delta) => delta.wait()));
    const check = (
      deltas: readonly Float32Array[],
      owners: LoraModule[],
      x: Float32Array,
      tokens: number,
    ) => {
      expect(deltas.length).toBe(owners.length);
      owners.forEach((owner, i) => {
        const want = Array.from({ length: tokens }, (_, token) => expected(owner, x, token)).flat();
        expect(deltas[i].length).toBe(want.length);
        // float64 sums in two orders differ by far less than the float32 they are rounded to.
        want.forEach((value, at) => {
          expect(Math.abs(deltas[i][at] - value)).toBeLessThanOrEqual(2 ** -24 * Math.abs(value) + 1e-13);
        });
      });
    };
    check(first, modules.slice(0, 2), xs[0], 4);
    check(second, modules.slice(2), xs[1], 3);
    check(third, modules.slice(0, 2), xs[2], 1);
  });

  it("runs a golden adapter", async () => {
    const adapter = await openLoraAdapter(nodeFileTree("test/fixtures/golden/llama-f32/adapter"));
    const names = [0, 1, 2].map((n) =>
      ["q", "k", "v"].map((part) => `model.layers.${n}.self_attn.${part}_proj`),
    );
    const lora = new LocalLora({
      ...adapter,
      groups: groupAdaptedModules(adapter.modules.values(), names),
    });
    const x = uniform(96);
    const [q, v] = await lora.begin(2, x, 1).wait();
    const want = expected(adapter.modules.get("model.layers.2.self_attn.v_proj")!, x, 0);
    expect(q.length).toBe(96);
    want.forEach((value, i) => {
      expect(v[i]).toBeCloseTo(value, 6);
    });
  });

  it("checks its arguments", () => {
    const only = module("h.0.q", 4, 4, 2, 1);
    const adapter = { modules: new Map([["h.0.q", only]]) };
    const lora = new LocalLora({ ...adapter, groups: groupAdaptedModules([only], [["h.0.q"]]) });
    expect(() => lora.begin(1, new Float32Array(4), 1)).toThrow(RangeError);
    expect(() => lora.begin(0, new Float32Array(7), 2)).toThrow(RangeError);
    expect(() => new LocalLora({ modules: new Map(), groups: lora.groups })).toThrow(RangeError);
  });
});
