/** Whether a file ends with the SHA-256 of all bytes before. */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { throwIfAborted } from "../../../base/abort.ts";
import type { FileCheckOptions } from "../../../base/platform.ts";

export const DIGEST_BYTES = 32;
const READ_BYTES = 4 << 20;

/** @throws what reading fails with; TacetError aborted */
export async function isWholeFile(
  path: string,
  { signal, onProgress }: FileCheckOptions = {},
): Promise<boolean> {
  const file = await open(path, "r");
  let reading: Promise<Uint8Array> | undefined;
  try {
    const end = (await file.stat()).size - DIGEST_BYTES;
    if (end < 0) return false;
    const hash = createHash("sha256");
    // One is read while the other is hashed.
    const buffers = [new Uint8Array(READ_BYTES), new Uint8Array(READ_BYTES)];
    const read = (at: number) => readAt(file, at, buffers[0].subarray(0, Math.min(READ_BYTES, end - at)));
    reading = read(0);
    for (let at = 0; at < end; ) {
      throwIfAborted(signal);
      const bytes = await reading;
      if (bytes.length === 0) return false;
      at += bytes.length;
      buffers.reverse();
      reading = read(at);
      hash.update(bytes);
      onProgress?.(at / end);
    }
    const stored = await readAt(file, end, new Uint8Array(DIGEST_BYTES));
    return hash.digest().equals(stored);
  } finally {
    await reading?.catch(() => {});
    await file.close();
  }
}

/** What there is at a place, at most as much as the buffer holds. */
async function readAt(file: FileHandle, at: number, buffer: Uint8Array): Promise<Uint8Array> {
  const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
  return buffer.subarray(0, bytesRead);
}
