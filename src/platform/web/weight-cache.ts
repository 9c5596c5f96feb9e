/** Quantized weights in the browser's private file system. */
import { concatBytes, equalBytes } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { FileCache, FileCheckOptions, FileTree, FileWriter } from "../../base/platform.ts";
import {
  bytesOfBlob,
  originFile,
  originFolder,
  originNames,
  removeOriginFile,
  writeOriginFile,
} from "./origin-files.ts";

const FOLDER = "tacet-weights";
const DIGEST_BYTES = 32;
/** Browsers hash what is in memory as a whole: so the digest of a file is that of the digests of its pieces. */
const PIECE_BYTES = 16 << 20;
const ROOM_HINT = "remove other data of this site, free some space on the disk, or take smaller weights";

/** A {@link FileCache}; of several copies that do not fit into what the browser gives, the new one stays. */
export function webWeightCache(): FileCache {
  const opened = new Map<string, File>();
  const fileOf = async (name: string): Promise<File | undefined> => {
    const known = opened.get(name);
    if (known) return known;
    const file = await originFile(await folder(), name);
    if (file) opened.set(name, file);
    return file;
  };
  const files: FileTree = {
    label: "the browser's storage",
    size: async (name) => (await fileOf(name))?.size,
    async read(name, offset, length) {
      const file = await fileOf(name);
      if (!file || offset + length > file.size) {
        throw new TacetError(
          "io_failed",
          `${name} has ${file?.size ?? 0} bytes, ${length} at ${offset} were asked for`,
        );
      }
      return await bytesOfBlob(file, offset, length).catch((cause: unknown) => fail(name, "read", cause));
    },
    list: async () => await originNames(await folder()),
    nativePath: () => undefined,
  };
  return {
    files,
    async check(name, options = {}) {
      opened.delete(name);
      const file = await fileOf(name);
      // An empty one was begun and never finished.
      if (file === undefined || file.size === 0) return undefined;
      const found = isWhole(file, options).then(async (whole) => {
        if (whole) return true;
        opened.delete(name);
        await removeOriginFile(await folder(), name);
        return false;
      });
      found.catch(() => {}); // whoever awaits it is told
      return { isWhole: found };
    },
    async create(name, bytes) {
      opened.delete(name);
      const into = await folder();
      await makeRoom(into, bytes + DIGEST_BYTES);
      const stream = await writeOriginFile(into, name).catch((cause: unknown) =>
        fail(name, "written", cause),
      );
      return new WebFileWriter(name, stream);
    },
  };
}

/** @throws TacetError io_failed where the browser keeps nothing */
async function folder(): Promise<FileSystemDirectoryHandle> {
  const found = await originFolder(FOLDER);
  if (found) return found;
  throw new TacetError(
    "io_failed",
    "the browser keeps no files for this page, and quantized weights need them",
    {
      hint: "not in a private window; or take the weights as they are: weights: original",
    },
  );
}

async function isWhole(file: File, { signal, onProgress }: FileCheckOptions): Promise<boolean> {
  const end = file.size - DIGEST_BYTES;
  if (end < 0) return false;
  const digest = new PieceDigest();
  for (let at = 0; at < end; at += PIECE_BYTES) {
    if (signal?.aborted) throw new TacetError("aborted", "stopped on request");
    await digest.add(await bytesOfBlob(file, at, Math.min(PIECE_BYTES, end - at)));
    onProgress?.(Math.min(1, (at + PIECE_BYTES) / end));
  }
  return equalBytes(await digest.finish(), await bytesOfBlob(file, end, DIGEST_BYTES));
}

/** SHA-256 over the SHA-256 of each piece of PIECE_BYTES; the last one may be shorter. */
class PieceDigest {
  readonly #digests: Uint8Array[] = [];
  #piece = new Uint8Array(PIECE_BYTES);
  #filled = 0;

  async add(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, PIECE_BYTES - this.#filled);
      this.#piece.set(bytes.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled === PIECE_BYTES) await this.#settle();
    }
  }

  async finish(): Promise<Uint8Array> {
    if (this.#filled > 0) await this.#settle();
    return await sha256(concatBytes(...this.#digests));
  }

  async #settle(): Promise<void> {
    this.#digests.push(await sha256(this.#piece.subarray(0, this.#filled)));
    this.#filled = 0;
  }
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

class WebFileWriter implements FileWriter {
  readonly #name: string;
  readonly #stream: FileSystemWritableFileStream;
  readonly #digest = new PieceDigest();
  #done = false;

  constructor(name: string, stream: FileSystemWritableFileStream) {
    this.#name = name;
    this.#stream = stream;
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#digest.add(bytes);
    await this.#write(bytes);
  }

  async finish(): Promise<void> {
    await this.#write(await this.#digest.finish());
    await this.#stream.close().catch((cause: unknown) => fail(this.#name, "written", cause));
    this.#done = true;
  }

  async discard(): Promise<void> {
    if (this.#done) return;
    this.#done = true;
    await this.#stream.abort().catch(() => {});
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#stream
      .write(bytes as Uint8Array<ArrayBuffer>)
      .catch((cause: unknown) => fail(this.#name, "written", cause));
  }
}

/** Copies of other models go where the new one has no room: they can be made again. */
async function makeRoom(into: FileSystemDirectoryHandle, bytes: number): Promise<void> {
  const room = async (): Promise<number> => {
    const { quota = Infinity, usage = 0 } = await navigator.storage.estimate();
    return quota - usage;
  };
  if ((await room()) >= bytes) return;
  for (const name of await originNames(into)) await removeOriginFile(into, name);
  const left = await room();
  if (left >= bytes) return;
  const megabytes = (count: number): string => `${Math.ceil(count / 1e6)} MB`;
  throw new TacetError(
    "io_failed",
    `the browser's storage: ${megabytes(bytes)} are needed, it gives this page ${megabytes(left)}`,
    { hint: ROOM_HINT },
  );
}

function fail(name: string, done: string, cause: unknown): never {
  const isFull = (cause as { name?: unknown } | null)?.name === "QuotaExceededError";
  const why = isFull ? "it is full" : String((cause as Error | undefined)?.name ?? "unknown error");
  throw new TacetError("io_failed", `the browser's storage: ${name} cannot be ${done} (${why})`, {
    cause,
    ...(isFull ? { hint: ROOM_HINT } : {}),
  });
}
