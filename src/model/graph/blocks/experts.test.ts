import { afterAll, describe, expect, it } from "vitest";
import { randomWeights, type Shapes, SmallModels } from "../../../../test/support/small-models.ts";
import { randomWords, seededRandom } from "../../../../test/oracle/seeded-random.ts";
import { nodePlatform } from "../../../platform/node.ts";
import { NO_CHANGES } from "../../../weights/base-changes.ts";
import { ChangesInUse } from "../changes-in-use.ts";
import { originalWeights } from "../../weights/weight-source.ts";
import { SegmentBuilder } from "../segment-builder.ts";
import { type ExpertLayer, mixExperts } from "./experts.ts";

const [HIDDEN, WIDTH, EXPERTS] = [10, 6, 5];
const models = new SmallModels();
afterAll(() => models.dispose());

/** Each expert's gate, up and down by themselves. */
function separate(chosen: number, normalized: boolean): [ExpertLayer, Shapes] {
  const names = Array.from({ length: EXPERTS }, (_, e) =>
    ["gate", "up", "down"].map((part) => `${e}.${part}`),
  );
  const layer: ExpertLayer = {
    experts: EXPERTS,
    chosen,
    normalized,
    first: {
      tensors: names.map(([gate, up]) => [gate, up]),
      outFeatures: [WIDTH, WIDTH],
      inFeatures: HIDDEN,
    },
    gate: { kind: "halves", activation: "silu" },
    second: { tensors: names.map(([, , down]) => [down]), outFeatures: [HIDDEN], inFeatures: WIDTH },
  };
  const shapes = names.flatMap(([gate, up, down]): [string, number[]][] => [
    [gate, [WIDTH, HIDDEN]],
    [up, [WIDTH, HIDDEN]],
    [down, [HIDDEN, WIDTH]],
  ]);
  return [layer, Object.fromEntries(shapes)];
}

/** All of them in one tensor, stored (in, out), gate and up in turn, with biases. */
function joined(chosen: number): [ExpertLayer, Shapes] {
  const layer: ExpertLayer = {
    experts: EXPERTS,
    chosen,
    normalized: true,
    first: {
      tensors: "gate_up",
      outFeatures: [2 * WIDTH],
      inFeatures: HIDDEN,
      storedInOut: true,
      bias: "gate_up_bias",
    },
    gate: { kind: "clamped", alpha: 1.702, limit: 0.5 },
    second: {
      tensors: "down",
      outFeatures: [HIDDEN],
      inFeatures: WIDTH,
      storedInOut: true,
      bias: "down_bias",
    },
  };
  return [
    layer,
    {
      gate_up: [EXPERTS, HIDDEN, 2 * WIDTH],
      gate_up_bias: [EXPERTS, 2 * WIDTH],
      down: [EXPERTS, WIDTH, HIDDEN],
      down_bias: [EXPERTS, HIDDEN],
    },
  ];
}

function random(seed: string, length: number, spread: number): Float32Array {
  return Float32Array.from(randomWords(seededRandom(seed), length), (word) => spread * (word / 2 ** 31 - 1));
}

/** Σ_e w_e·W₂ₑ·act(W₁ₑ·x) of one token, in float64. */
function oracle(
  layer: ExpertLayer,
  weights: ReturnType<typeof randomWeights>,
  x: ArrayLike<number>,
  scores: readonly number[],
): number[] {
  const product = (
    { tensors, outFeatures, storedInOut, bias }: ExpertLayer["first"],
    expert: number,
    input: ArrayLike<number>,
  ): number[] => {
    const isJoined = typeof tensors === "string";
    const rows = (isJoined ? [tensors] : tensors[expert]).flatMap((name, part) => {
      const { shape, data } = weights.get(name)!;
      const [height, columns] = shape.slice(-2);
      const start = isJoined ? expert * height * columns : 0;
      return Array.from({ length: outFeatures[part] }, (_, out) =>
        Array.from(input).reduce(
          (sum, value, i) =>
            sum + value * data[start + (storedInOut ? i * columns + out : out * columns + i)],
          0,
        ),
      );
    });
    const biases = bias === undefined ? undefined : weights.get(bias)!.data;
    return rows.map((value, out) => value + (biases ? biases[expert * rows.length + out] : 0));
  };
  const exps = scores.map(Math.exp);
  const best = scores.map((score, e) => [score, e]).sort(([a], [b]) => b - a);
  const chosen = best.slice(0, layer.chosen).map(([, e]) => e);
  const total = (layer.normalized ? chosen.map((e) => exps[e]) : exps).reduce((a, b) => a + b);
  const y = new Array<number>(HIDDEN).fill(0);
  const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));
  for (const e of chosen) {
    const inner = product(layer.first, e, x);
    const { gate } = layer;
    const hidden = Array.from({ length: WIDTH }, (_, i) => {
      if (gate.kind === "halves") return inner[i] * sigmoid(inner[i]) * inner[WIDTH + i];
      const g = Math.min(inner[2 * i], gate.limit);
      const u = Math.max(-gate.limit, Math.min(gate.limit, inner[2 * i + 1]));
      return g * sigmoid(gate.alpha * g) * (u + 1);
    });
    for (const [i, value] of product(layer.second, e, hidden).entries()) y[i] += (exps[e] / total) * value;
  }
  return y;
}

async function mixed(
  [layer, shapes]: [ExpertLayer, Shapes],
  x: Float32Array,
  scores: Float32Array,
): Promise<{ got: number[]; want: number[] }> {
  const weights = randomWeights(shapes, "experts");
  const checkpoint = await models.write({}, weights);
  const builder = new SegmentBuilder(originalWeights(checkpoint), {
    groupAt: new Map(),
    pairable: new Set(),
    loras: new Set(),
    changes: new ChangesInUse(NO_CHANGES),
  });
  const given = (name: string, width: number) => builder.given(name, "float32", [1, "tokens", width]);
  const y = mixExperts(builder, layer, given("x", HIDDEN), given("scores", EXPERTS));
  builder.expose(y);
  const [{ graph }] = builder.finish();
  const session = await nodePlatform().tensors.createSession(graph.encode(), { threads: 1 });
  const tokens = x.length / HIDDEN;
  const out = await session.run({
    x: { type: "float32", dims: [1, tokens, HIDDEN], data: x },
    scores: { type: "float32", dims: [1, tokens, EXPERTS], data: scores },
  });
  await session.dispose();
  expect(out[y.name].dims).toEqual([1, tokens, HIDDEN]);
  const rows = Array.from({ length: tokens }, (_, t) =>
    oracle(layer, weights, x.subarray(t * HIDDEN, (t + 1) * HIDDEN), [
      ...scores.subarray(t * EXPERTS, (t + 1) * EXPERTS),
    ]),
  );
  return { got: [...(out[y.name].data as Float32Array)], want: rows.flat() };
}

const LAYERS: [string, [ExpertLayer, Shapes]][] = [
  ["weights that add up to 1", separate(2, true)],
  ["shares of all experts", separate(2, false)],
  ["one expert", separate(1, false)],
  ["all experts", separate(EXPERTS, true)],
  ["tensors of all experts, with biases and bounds", joined(3)],
];

describe.each(LAYERS)("a mixture of experts: %s", (_, layer) => {
  it.each([1, 2, 9])("is the sum over the chosen ones for %i tokens", async (tokens) => {
    const x = random(`x ${tokens}`, tokens * HIDDEN, 1.5);
    const { got, want } = await mixed(layer, x, random(`s ${tokens}`, tokens * EXPERTS, 2));
    expect(got).toEqual(want.map((value) => expect.closeTo(value, 5)));
  });

  it("may send all tokens to the same experts", async () => {
    const scores = Float32Array.from({ length: 4 * EXPERTS }, (_, i) => 3 - 2 * (i % EXPERTS));
    const { got, want } = await mixed(layer, random("x", 4 * HIDDEN, 1.5), scores);
    expect(got).toEqual(want.map((value) => expect.closeTo(value, 5)));
  });
});

describe("tensors of all experts", () => {
  it("must be as many as config.json says", async () => {
    const [layer, shapes] = joined(2);
    const more = { ...shapes, gate_up: [EXPERTS + 1, HIDDEN, 2 * WIDTH] };
    const one = random("x", HIDDEN, 1);
    await expect(mixed([layer, more], one, random("s", EXPERTS, 1))).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringContaining("gate_up"),
    });
  });
});
