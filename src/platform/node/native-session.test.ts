import { beforeAll, expect, it } from "vitest";
import type { TensorSession } from "../../base/platform.ts";
import { OnnxGraph } from "../../model/graph/onnx-graph.ts";
import { nodeTensorRuntime } from "./tensors.ts";

let session: TensorSession;
beforeAll(async () => {
  const graph = new OnnxGraph("negative");
  graph.input({ name: "x", type: "float32", dims: ["n"] });
  graph.node("Neg", ["x"], ["y"]);
  graph.output({ name: "y", type: "float32", dims: ["n"] });
  session = await nodeTensorRuntime().createSession(graph.encode());
});

const x = (...entries: number[]) =>
  ({ type: "float32", dims: [entries.length], data: Float32Array.from(entries) }) as const;

it("gives what the graph makes, in arrays that are the caller's", async () => {
  const results = [await session.run({ x: x(1, -2) }), await session.run({ x: x(3) })];
  expect(results.map(({ y }) => [y.type, ...y.dims, ...y.data])).toEqual([
    ["float32", 2, -1, 2],
    ["float32", 1, -3],
  ]);
});

it("says what is wrong, without what it was given", async () => {
  await expect(session.run({})).rejects.toMatchObject({
    code: "internal",
    message: expect.stringMatching(/could not run a segment/),
  });
  const wrong = session.run({ x: { type: "int64", dims: [1], data: BigInt64Array.of(77n) } });
  await expect(wrong).rejects.toMatchObject({ code: "internal", message: expect.not.stringMatching(/77/) });
  const short = session.run({ x: { type: "float32", dims: [3], data: Float32Array.of(77) } });
  await expect(short).rejects.toThrow();
});

it("lets timers and sockets have their turn between runs", async () => {
  let came = false;
  setTimeout(() => (came = true), 0);
  for (let i = 0; i < 1_000_000 && !came; i++) await session.run({ x: x(i) });
  expect(came).toBe(true);
});

it("cannot run once it is disposed of", async () => {
  await session.dispose();
  await expect(session.run({ x: x(1) })).rejects.toMatchObject({ code: "internal" });
});
