import { beforeAll, describe, expect, it } from "vitest";
import { type EditableFile, editSafetensors } from "../../test/support/edit-safetensors.ts";
import { tinyBundle } from "../../test/support/tiny-bundle.ts";
import { toHex } from "../base/bytes.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import type { CreatedBundle } from "./create-bundle.ts";
import { groupRows } from "./manifest.ts";
import { encodePrivateState, readPrivateState } from "./private-state.ts";
import { publicKeyOf } from "./signature.ts";

let made: CreatedBundle;
beforeAll(async () => {
  made = await tinyBundle();
});

const read = (bytes: Uint8Array, of: CreatedBundle = made) =>
  readPrivateState(
    memoryFileTree({ "private.safetensors": bytes }, "state"),
    "private.safetensors",
    of.manifest,
    of.digest,
  );

const refused = (edit: (file: EditableFile) => void) =>
  expect(read(editSafetensors(made.privateState, edit))).rejects.toMatchObject({ code: "bad_state" });

describe("private state", () => {
  it("gives W of every group and the secrets of keys back, byte for byte", async () => {
    const state = await read(made.privateState);
    for (const [g, spec] of made.manifest.groups.entries()) {
      expect(state.groups[g].weights).toHaveLength(groupRows(spec) * spec.inFeatures);
    }
    expect(toHex(publicKeyOf(state.keySigningKey))).toBe(made.manifest.keySigner);
    expect(encodePrivateState(made.manifest, made.digest, state)).toEqual(made.privateState);
    expect(await read(Buffer.from(made.privateState))).toEqual(state);
  });

  it("is in no part in the bundle", async () => {
    const bundle = Buffer.from(made.bundle);
    const { rootSecret, keySigningKey, markSecret, groups } = await read(made.privateState);
    for (const values of [rootSecret, keySigningKey, markSecret, ...groups.map(({ weights }) => weights)]) {
      const bytes = Buffer.from(values.buffer, values.byteOffset, 16);
      expect(bundle.includes(bytes)).toBe(false);
      expect(Buffer.from(made.privateState).includes(bytes)).toBe(true);
    }
  });

  it("with another signing key than the bundle names is refused", () =>
    refused((file) => {
      const tensor = file.tensors.find(({ name }) => name === "key_signing_key")!;
      tensor.data = tensor.data.map((byte) => byte ^ 1);
    }));

  it("of another bundle is refused, though every shape is the same", async () => {
    const other = await tinyBundle();
    await expect(read(other.privateState)).rejects.toMatchObject({ code: "bad_state" });
    await expect(read(made.privateState, other)).rejects.toMatchObject({ code: "bad_state" });
  });

  it("without its digest, or with a tensor missing, reshaped or of another type is refused", async () => {
    await refused((file) => void (file.metadata = {}));
    for (const i of [0, 1, 2, 3]) {
      await refused((file) => void file.tensors.splice(i, 1));
      await refused((file) => void file.tensors[i].shape.unshift(1));
      await refused((file) => void (file.tensors[i].dtype = i < 3 ? "I8" : "F32"));
    }
  });

  it("that is cut or missing is refused", async () => {
    for (const length of [0, 7, 100, made.privateState.length - 1]) {
      await expect(read(made.privateState.subarray(0, length))).rejects.toMatchObject({ code: "bad_state" });
    }
    const empty = memoryFileTree({}, "state");
    await expect(
      readPrivateState(empty, "private.safetensors", made.manifest, made.digest),
    ).rejects.toMatchObject({ code: "bad_state" });
  });
});
