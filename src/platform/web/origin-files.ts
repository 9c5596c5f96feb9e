/** Files that the browser keeps for this origin (the origin private file system), apart from its cache. */

/** A folder in it, made where it is not; undefined where the browser gives none: private windows, old versions. */
export async function originFolder(
  ...path: readonly string[]
): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    let folder = await navigator.storage.getDirectory();
    for (const name of path) folder = await folder.getDirectoryHandle(nameOf(name), { create: true });
    return folder;
  } catch {
    return undefined;
  }
}

/** A file as it is now: its bytes stay on disk until they are read. */
export async function originFile(folder: FileSystemDirectoryHandle, name: string): Promise<File | undefined> {
  try {
    return await (await folder.getFileHandle(nameOf(name))).getFile();
  } catch {
    return undefined;
  }
}

/** Begins a file that is there once the stream is closed, whole or not at all. */
export async function writeOriginFile(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<FileSystemWritableFileStream> {
  return await (await folder.getFileHandle(nameOf(name), { create: true })).createWritable();
}

export async function removeOriginFile(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  await folder.removeEntry(nameOf(name), { recursive: true }).catch(() => {});
}

/** Names of what is in a folder, as they were given. */
export async function originNames(folder: FileSystemDirectoryHandle): Promise<string[]> {
  const names: string[] = [];
  for await (const name of (folder as unknown as { keys(): AsyncIterable<string> }).keys())
    names.push(decodeURIComponent(name));
  return names.sort();
}

/** Bytes [offset, offset + length) of a file or of what is kept in memory. */
export async function bytesOfBlob(blob: Blob, offset: number, length: number): Promise<Uint8Array> {
  return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
}

/** A name there has no "/"; the last characters of a long one tell it from others. */
function nameOf(name: string): string {
  return encodeURIComponent(name).slice(-200);
}
