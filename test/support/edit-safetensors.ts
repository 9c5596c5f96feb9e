/** Takes a safetensors file apart and puts it together again, so that a test can change one thing in it. */
import { encodeSafetensors, type TensorToEncode } from "../../src/weights/safetensors.ts";

export interface EditableFile {
  tensors: { name: string; dtype: TensorToEncode["dtype"]; shape: number[]; data: Uint8Array }[];
  metadata: Record<string, string>;
}

export function editSafetensors(bytes: Uint8Array, edit: (file: EditableFile) => void): Uint8Array {
  const headerBytes = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(Buffer.from(bytes.subarray(8, 8 + headerBytes)).toString("utf8"));
  const { __metadata__: metadata = {}, ...entries } = header;
  const data = bytes.subarray(8 + headerBytes);
  const file: EditableFile = {
    metadata,
    tensors: Object.entries<{ dtype: TensorToEncode["dtype"]; shape: number[]; data_offsets: number[] }>(
      entries,
    ).map(([name, { dtype, shape, data_offsets }]) => ({
      name,
      dtype,
      shape,
      data: data.slice(data_offsets[0], data_offsets[1]),
    })),
  };
  edit(file);
  return encodeSafetensors(file.tensors, file.metadata);
}
