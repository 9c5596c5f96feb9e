/** A folder on disk as a {@link FileCache}: $XDG_CACHE_HOME/tacet/weights. */
import { createHash, randomBytes } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { TacetError } from "../../../base/errors.ts";
import type { FileCache, FileCheckOptions, FileWriter } from "../../../base/platform.ts";
import { defaultCacheDir } from "./bundle-cache.ts";
import { errnoOf } from "./errno.ts";
import { isWholeBeside } from "./file-check.ts";
import { nodeFileTree } from "./file-tree.ts";
import { DIGEST_BYTES, isWholeFile } from "./whole-file.ts";

/** Less is hashed sooner than a thread has started. */
const THREAD_BYTES = 64 << 20;
/** A half-written file that nobody has touched for this long belongs to a process that has ended. */
const ABANDONED_MS = 3_600_000;

export function nodeFileCache(dir = join(defaultCacheDir(), "weights")): FileCache {
  return {
    get files() {
      return nodeFileTree(dir);
    },
    async check(name, options = {}) {
      const path = join(dir, checkName(name));
      const size = await sizeOf(path);
      if (size === undefined) return undefined;
      const found = isWhole(path, size, options);
      found.catch(() => {}); // whoever awaits it is told
      return { isWhole: found };
    },
    async create(name, bytes) {
      const path = join(dir, checkName(name));
      await mkdir(dir, { recursive: true }).catch((cause) => fail(dir, "made", cause));
      await removeAbandoned(dir, name);
      await checkRoom(dir, bytes + DIGEST_BYTES);
      const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
      const file = await open(temporary, "wx").catch((cause) => fail(temporary, "written", cause));
      return new NodeFileWriter(file, temporary, path);
    },
  };
}

function checkName(name: string): string {
  if (!/^[a-z0-9][a-z0-9.-]{0,150}$/.test(name)) throw new RangeError("not a name of a cached file");
  return name;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return await stat(path).then(
    ({ size }) => size,
    (cause: unknown) => (errnoOf(cause) === "ENOENT" ? undefined : fail(path, "read", cause)),
  );
}

/** @throws TacetError io_failed, aborted */
async function isWhole(path: string, size: number, options: FileCheckOptions): Promise<boolean> {
  const check = size < THREAD_BYTES ? isWholeFile : isWholeBeside;
  const found = await check(path, options).catch((cause: unknown) =>
    // Somebody else found it damaged first.
    errnoOf(cause) === "ENOENT" ? false : fail(path, "read", cause),
  );
  if (!found) await rm(path, { force: true }).catch((cause) => fail(path, "removed", cause));
  return found;
}

class NodeFileWriter implements FileWriter {
  readonly #file: FileHandle;
  readonly #temporary: string;
  readonly #path: string;
  readonly #hash = createHash("sha256");
  #done = false;

  constructor(file: FileHandle, temporary: string, path: string) {
    this.#file = file;
    this.#temporary = temporary;
    this.#path = path;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    await this.#write(bytes);
  }

  async finish(): Promise<void> {
    await this.#write(this.#hash.digest());
    try {
      await this.#file.sync();
      await this.#file.close();
      await rename(this.#temporary, this.#path);
      this.#done = true;
    } catch (cause) {
      fail(this.#path, "written", cause);
    }
  }

  async discard(): Promise<void> {
    if (this.#done) return;
    this.#done = true;
    await this.#file.close().catch(() => {});
    await rm(this.#temporary, { force: true });
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at);
        at += bytesWritten;
      }
    } catch (cause) {
      fail(this.#path, "written", cause);
    }
  }
}

async function removeAbandoned(dir: string, name: string): Promise<void> {
  for (const entry of await readdir(dir)) {
    if (!entry.startsWith(`${name}.`) || !entry.endsWith(".tmp")) continue;
    const path = join(dir, entry);
    const found = await stat(path).catch(() => undefined);
    if (found && Date.now() - found.mtimeMs > ABANDONED_MS) await rm(path, { force: true });
  }
}

/** @throws TacetError io_failed; where the system does not say, the writing will */
async function checkRoom(dir: string, bytes: number): Promise<void> {
  const disk = await statfs(dir).catch(() => undefined);
  if (!disk || disk.blocks === 0) return;
  const room = disk.bavail * disk.bsize;
  if (room >= bytes) return;
  throw new TacetError(
    "io_failed",
    `${dir}: ${megabytes(bytes)} are needed, the disk has ${megabytes(room)}`,
    {
      hint: ROOM_HINT,
    },
  );
}

const ROOM_HINT = "free some space, or give another folder with --weights-cache or XDG_CACHE_HOME";

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}

function fail(path: string, done: string, cause: unknown): never {
  if (cause instanceof TacetError) throw cause;
  const code = errnoOf(cause);
  const full = code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
  const why = full ? "the disk is full" : code || "unknown error";
  throw new TacetError("io_failed", `${path} cannot be ${done} (${why})`, {
    cause,
    ...(full ? { hint: ROOM_HINT } : {}),
  });
}
