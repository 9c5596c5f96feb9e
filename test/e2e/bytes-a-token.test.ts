/**
 * What a token costs on the line, counted at the socket, for the widths of models that people use: one layer of each,
 * times its layers, against the figures that the design promised: 4.5 kB for each group whatever its width, and
 * r·(27·n + 24·2048)/8 bytes for each group of a key. The design had a key for 256 tokens; it serves fewer (docs/parameters.md).
 */
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { createBundle } from "../../src/bundle/create-bundle.ts";
import { RemoteAdapter } from "../../src/client/remote-adapter.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import { writeStateFolder } from "../../src/library/node-state-folder.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import type { LoraPair } from "../../src/pll/lora-split.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { temporaryFolder } from "../support/models.ts";
import { gaussianSource } from "../support/pll-layer.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { recordingProxy } from "../support/recording-proxy.ts";

const RANK = 8;
const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

/** Of each group of a layer: inputs, and the outputs of each of its modules. */
type Layer = readonly (readonly [number, readonly number[]])[];

const CASES: [string, number, Layer, { up: number; keys: number }][] = [
  ["ChatGLM2-6B, query_key_value", 28, [[4096, [4608]]], { up: 0.126e6, keys: 0.0175e6 }],
  [
    "Qwen2.5-0.5B, all seven",
    24,
    [
      [896, [896, 128, 128]],
      [896, [896]],
      [896, [4864, 4864]],
      [4864, [896]],
    ],
    { up: 0.432e6, keys: 0.0588e6 },
  ],
  [
    "Llama-3.1-8B, all seven",
    32,
    [
      [4096, [4096, 1024, 1024]],
      [4096, [4096]],
      [4096, [14_336, 14_336]],
      [14_336, [4096]],
    ],
    { up: 0.576e6, keys: 0.1743e6 },
  ],
];

const gaussian = gaussianSource(3);
const normal = (count: number) => Float32Array.from({ length: count }, gaussian);

it.each(CASES)("%s", async (name, layers, layer, want) => {
  const modules = new Map<string, LoraPair>();
  const groups = layer.map(([inFeatures, outputs], g) => ({
    layer: 0,
    inFeatures,
    modules: outputs.map((outFeatures, m) => {
      const module = `m.${g}.${m}`;
      const [a, b] = [normal(RANK * inFeatures), normal(outFeatures * RANK)];
      modules.set(module, { rank: RANK, inFeatures, outFeatures, a, b, scale: 1 });
      return module;
    }),
  }));
  const baseFingerprint = new Uint8Array(32);
  const state = join(folder.path, String(layers));
  await writeStateFolder(
    state,
    await createBundle({ adapter: "a", baseFingerprint, groups, modules }, systemRandom),
  );
  const proxy = await recordingProxy((await startProvider(state)).url);
  const { provider, bundle } = await RemoteProvider.connect(nodePlatform(), {
    url: proxy.url,
    baseFingerprint,
  });
  const adapter = new RemoteAdapter(bundle, provider, provider.limits, provider.welcome.vectorsPerKey);
  const bytes = () => {
    const [{ up, down }] = proxy.recordings();
    return { up: up.length, down: down.length };
  };
  const pass = async () => {
    for (const [g, { inFeatures }] of bundle.manifest.groups.entries()) {
      await adapter.begin(g, normal(inFeatures), 1).wait();
    }
  };
  const before = bytes();
  await pass();
  const first = bytes();
  await pass();
  const second = bytes();
  expect(provider.traffic.keys).toBe(1);
  const up = layers * (second.up - first.up);
  // The first pass fetches the key besides.
  const key = first.down - before.down - (second.down - first.down);
  const keys = (layers * key) / provider.welcome.vectorsPerKey;
  const wantedKeys = (want.keys * 256) / provider.welcome.vectorsPerKey;
  const share = (got: number, expected: number) => `${(100 * (got / expected - 1)).toFixed(1)} %`;
  console.log(
    `${name}: ${(up / 1e6).toFixed(4)} MB up a token (${share(up, want.up)}), ${(keys / 1e6).toFixed(4)} MB of keys (${share(keys, wantedKeys)})`,
  );
  expect(Math.abs(up / want.up - 1)).toBeLessThan(0.03);
  expect(Math.abs(keys / wantedKeys - 1)).toBeLessThan(0.03);
  provider.close();
  adapter.dispose();
  await proxy.close();
});
