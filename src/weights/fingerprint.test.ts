import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { toHex, utf8 } from "../base/bytes.ts";
import { nodeFileTree } from "../platform/node/files/file-tree.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { fingerprintCheckpoint } from "./fingerprint.ts";
import { memoryFileTree } from "./memory-files.ts";
import { encodeSafetensors, type TensorToEncode } from "./safetensors.ts";

const bytes = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17 + (i >> 8)) & 0xff);
const tensor = (name: string, length: number, seed = 0): TensorToEncode => ({
  name,
  dtype: "U8",
  shape: [length],
  data: bytes(length, seed),
});

async function fingerprint(
  tensors: TensorToEncode[],
  config = '{"model_type":"llama","rope_theta":10000.0}',
): Promise<string> {
  const tree = memoryFileTree({
    "config.json": utf8(config),
    "model.safetensors": encodeSafetensors(tensors),
  });
  return toHex(await fingerprintCheckpoint(await openCheckpoint(tree)));
}

describe("fingerprintCheckpoint", () => {
  const small = [tensor("b", 100), tensor("a", 7)];

  it("is the hash that its documentation describes", async () => {
    const hash = createHash("sha256");
    const add = (part: Uint8Array) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(part.length);
      hash.update(length).update(part);
    };
    const large = tensor("c", (1 << 20) + 1);
    add(utf8("tacet/base-model/1"));
    add(utf8('{"a":[1,{"x":null,"y":2}],"model_type":"llama"}'));
    add(utf8('["b","U8",[100]]'));
    add(bytes(100, 0));
    add(utf8('["c","U8",[1048577]]'));
    for (let i = 0; i < 16; i++) {
      const start = Math.floor((i * ((1 << 20) + 1 - 4096)) / 15);
      add(large.data.subarray(start, start + 4096));
    }
    const config = '{"torch_dtype":"float32","model_type":"llama","a":[1,{"y":2,"x":null}]}';
    expect(await fingerprint([large, tensor("b", 100)], config)).toBe(hash.digest("hex"));
  });

  it("does not depend on the order or the files of the tensors", async () => {
    const one = await fingerprint(small);
    expect(await fingerprint([...small].reverse())).toBe(one);
    const shards = memoryFileTree({
      "config.json": utf8('{"rope_theta":10000,"model_type":"llama","transformers_version":"5"}'),
      "1.safetensors": encodeSafetensors([small[0]]),
      "2.safetensors": encodeSafetensors([small[1]]),
      "model.safetensors.index.json": utf8('{"weight_map":{"a":"2.safetensors","b":"1.safetensors"}}'),
    });
    expect(toHex(await fingerprintCheckpoint(await openCheckpoint(shards)))).toBe(one);
  });

  it("changes with a weight, a name, a shape and the configuration", async () => {
    const all = await Promise.all([
      fingerprint(small),
      fingerprint([tensor("b", 100, 1), tensor("a", 7)]),
      fingerprint([tensor("b2", 100), tensor("a", 7)]),
      fingerprint([{ ...small[0], shape: [10, 10] }, small[1]]),
      fingerprint([{ ...small[0], dtype: "I8" }, small[1]]),
      fingerprint([small[0]]),
      fingerprint(small, '{"model_type":"llama","rope_theta":500000.0}'),
      fingerprint(small, '{"model_type":"llama","rope_theta":10000.0,"rope_scaling":{"factor":8}}'),
    ]);
    expect(new Set(all).size).toBe(all.length);
  });

  it("is fixed for the golden models: a change is a new version of the protocol", async () => {
    for (const [folder, digest] of [
      ["llama-f32", "e0ce8a8178c1c15cce2bcfd9fd61c80d7d0bca306f1a2d92f45314d361189f84"],
      ["llama-bf16-sharded", "8c674fb4cb72cc474915e6128439df3eef9c7acadba55ecc81220267d13e9ea8"],
    ]) {
      const checkpoint = await openCheckpoint(nodeFileTree(`test/fixtures/golden/${folder}`));
      expect(toHex(await fingerprintCheckpoint(checkpoint))).toBe(digest);
    }
  });
});
