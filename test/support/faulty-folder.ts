/** Faults for copies of a folder: each is a function of the folder's path. */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type EditableFile, editSafetensors } from "./edit-safetensors.ts";

export type FolderFault = (dir: string) => void;

/** Copies a folder to `dir` and does something to the copy. */
export function faultyCopy(source: string, dir: string, fault: FolderFault): string {
  cpSync(source, dir, { recursive: true });
  fault(dir);
  return dir;
}

export const editFile =
  (name: string, edit: (file: EditableFile) => void): FolderFault =>
  (dir) => {
    const path = join(dir, name);
    writeFileSync(path, editSafetensors(readFileSync(path), edit));
  };

/** @param edit gives what the file shall hold */
export const editJson =
  (name: string, edit: (value: Record<string, unknown>) => unknown): FolderFault =>
  (dir) => {
    const path = join(dir, name);
    writeFileSync(path, JSON.stringify(edit(JSON.parse(readFileSync(path, "utf8")))));
  };

export const writeText =
  (name: string, text: string): FolderFault =>
  (dir) =>
    writeFileSync(join(dir, name), text);

export const writeBytes =
  (name: string, ...bytes: number[]): FolderFault =>
  (dir) =>
    writeFileSync(join(dir, name), Uint8Array.from(bytes));

export const remove =
  (name: string): FolderFault =>
  (dir) =>
    rmSync(join(dir, name));

/** Leaves the first `bytes` of a file. */
export const truncate =
  (name: string, bytes: number): FolderFault =>
  (dir) => {
    const path = join(dir, name);
    writeFileSync(path, readFileSync(path).subarray(0, bytes));
  };

/** Sets one float32 of a tensor. */
export const setFloat = (name: string, tensor: string, at: number, value: number): FolderFault =>
  editFile(name, ({ tensors }) => {
    const { data } = tensors.find((each) => each.name === tensor)!;
    new DataView(data.buffer, data.byteOffset).setFloat32(4 * at, value, true);
  });

export function tensorsOf(path: string): EditableFile["tensors"] {
  let tensors: EditableFile["tensors"] = [];
  editSafetensors(readFileSync(path), (file) => {
    tensors = file.tensors;
  });
  return tensors;
}
