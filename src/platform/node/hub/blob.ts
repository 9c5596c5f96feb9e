/** One file from the hub into the cache: resumed where it broke off, checked before it gets its name. */

import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TacetError } from "../../../base/errors.ts";
import { errnoOf } from "../files/errno.ts";
import { lockFile } from "../files/lock-file.ts";
import type { HubFile } from "./names.ts";
import { hubGet, PassingFailure, type RetryOptions, SILENCE_MS, withRetries } from "./request.ts";
import type { HubSettings } from "./settings.ts";

export interface FetchOptions extends RetryOptions {
  /** Bytes of the file that are there; falls when a file has to begin again. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/**
 * Fetches a file to `blob`; its part is `blob`.incomplete until it is whole and has the digest.
 * @throws TacetError io_failed if the disk is full, or the bytes are not those that the hub lists; connection_failed
 */
export async function fetchBlob(
  url: string,
  file: HubFile,
  blob: string,
  settings: HubSettings,
  options: FetchOptions = {},
): Promise<void> {
  await mkdir(dirname(blob), { recursive: true }).catch((cause) => failDisk(file.name, cause));
  const lock = await lockBlob(file.name, blob, options.signal);
  try {
    if ((await sizeOf(blob)) === file.size) return;
    const part = `${blob}.incomplete`;
    const own = { ...options, signal: lock.signal };
    // Bytes that a broken run left may be wrong; bytes that came whole may not.
    if ((await fetchPart(url, file, part, settings, own)) === "wrong") {
      await rm(part, { force: true });
      if ((await fetchPart(url, file, part, settings, own)) === "wrong") {
        await rm(part, { force: true });
        throw new TacetError("io_failed", `${file.name} arrives with other bytes than the hub lists`, {
          hint: "a proxy or mirror may change files; try again, or set HF_ENDPOINT to another hub",
        });
      }
    }
    await rename(part, blob).catch((cause) => failDisk(file.name, cause));
  } finally {
    lock.release();
  }
}

/** One process at a time writes a part; the others wait for it, and then find the file. */
async function lockBlob(name: string, blob: string, signal: AbortSignal | undefined) {
  const lost = new AbortController();
  const path = `${blob}.tacet-lock`;
  const { release } = await lockFile(path, {
    what: `another process is downloading ${name}`,
    waitMs: Number.POSITIVE_INFINITY,
    onLost: () => lost.abort(new TacetError("io_failed", `another process has taken over ${path}`)),
    signal,
  });
  return { release, signal: signal === undefined ? lost.signal : AbortSignal.any([lost.signal, signal]) };
}

export async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

async function fetchPart(
  url: string,
  file: HubFile,
  part: string,
  settings: HubSettings,
  options: FetchOptions,
): Promise<"right" | "wrong"> {
  const handle = await openPart(part).catch((cause) => failDisk(file.name, cause));
  try {
    let state = await resume(part, file);
    const { onBytes = () => {}, signal } = options;
    const receive = async () => {
      onBytes(state.length);
      if (state.length === file.size) return;
      const { response, etag } = await hubGet(url, file.name, settings, {
        signal,
        headers: state.length === 0 ? {} : { range: `bytes=${state.length}-` },
      });
      if (etag !== undefined && isDigest(etag) && etag !== file.digest) {
        await response.body?.cancel();
        throw new TacetError("io_failed", `${file.name} is another on the hub than its list says`, {
          hint: "try again: the repository may just have changed",
        });
      }
      if (state.length > 0 && !continues(response, state.length)) {
        // The server sends the whole file, and so it begins again.
        state = { length: 0, hash: newHash(file) };
        await handle.truncate(0);
      }
      await writeBody(response, handle, file, state, onBytes, signal);
      if (state.length < file.size) throw new PassingFailure("the connection was cut");
    };
    await withRetries(file.name, receive, options, () => state.length);
    return state.hash.digest("hex") === file.digest ? "right" : "wrong";
  } finally {
    await handle.close();
  }
}

interface Received {
  length: number;
  /** Of the bytes so far. */
  readonly hash: Hash;
}

/** Both for reading and writing, made if absent, and not cut. */
async function openPart(part: string): Promise<FileHandle> {
  return await open(part, "r+").catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return await open(part, "wx+");
  });
}

/** What is there already, hashed; a part that is longer than the file begins again. */
async function resume(part: string, file: HubFile): Promise<Received> {
  const state: Received = { length: 0, hash: newHash(file) };
  const there = (await sizeOf(part)) ?? 0;
  if (there === 0 || there > file.size) return state;
  for await (const chunk of createReadStream(part)) {
    state.hash.update(chunk as Buffer);
    state.length += (chunk as Buffer).length;
  }
  return state;
}

/** SHA-256 of the bytes, or SHA-1 as git hashes a file, by the digest's length. */
function newHash({ digest, size }: HubFile): Hash {
  return digest.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}

function isDigest(text: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

function continues({ status, headers }: Response, from: number): boolean {
  return status === 206 && headers.get("content-range")?.startsWith(`bytes ${from}-`) === true;
}

async function writeBody(
  response: Response,
  handle: FileHandle,
  file: HubFile,
  state: Received,
  onBytes: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await readInTime(reader, signal);
      if (done) return;
      if (state.length + value.length > file.size)
        throw new TacetError("io_failed", `${file.name} arrives longer than the hub lists it`);
      await handle
        .writev([value], state.length)
        .then(({ bytesWritten }) => {
          if (bytesWritten !== value.length)
            throw Object.assign(new Error("short write"), { code: "ENOSPC" });
        })
        .catch((cause) => failDisk(file.name, cause));
      state.hash.update(value);
      state.length += value.length;
      onBytes(state.length);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** @throws PassingFailure if nothing comes for a while, or the connection breaks */
async function readInTime(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<Awaited<ReturnType<typeof reader.read>>> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new PassingFailure("nothing arrives any more")), SILENCE_MS);
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof PassingFailure ? error : new PassingFailure("the connection was cut");
  } finally {
    clearTimeout(timer);
  }
}

export function failDisk(name: string, cause: unknown): never {
  if (cause instanceof TacetError) throw cause;
  const code = errnoOf(cause);
  if (code === "ENOSPC" || code === "EDQUOT") {
    throw new TacetError("io_failed", `the disk is full: ${name} is not whole`, {
      hint: "make room, or set HF_HUB_CACHE to another disk; what has come so far is kept, and the next run goes on from it",
      cause,
    });
  }
  throw new TacetError("io_failed", `${name} cannot be written into the cache (${code})`, { cause });
}

/** Where a cache keeps a blob. */
export function blobPath(repoDir: string, { digest }: HubFile): string {
  return join(repoDir, "blobs", digest);
}
