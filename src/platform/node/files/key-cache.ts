/**
 * Keys of private layers kept on disk between sessions: $XDG_CACHE_HOME/tacet/keys/<account>/<bundle digest>/<key id>,
 * folders of mode 0700, files of mode 0600. Whoever reads them has what a provider sent this user.
 */
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { KeptKeyName } from "../../../base/platform.ts";
import { writeFiles } from "./atomic-write.ts";
import { defaultCacheDir } from "./bundle-cache.ts";

/** Keys of an account that are kept; the oldest go. */
const MOST_KEPT = 32;
/** A key that nobody has used for so long is of a provider that nobody asks any more. */
const KEPT_MS = 30 * 24 * 60 * 60 * 1000;

interface StoredKey extends KeptKeyName {
  readonly path: string;
  readonly changed: number;
}

/** A client's KeyCache in a folder; it is made when it is needed. */
export function nodeKeyCache(dir = join(defaultCacheDir(), "keys")) {
  const folderOf = ({ account, bundle }: KeptKeyName): string => join(dir, hex(account), hex(bundle));
  const pathOf = (name: KeptKeyName): string => join(folderOf(name), hex(name.id));
  return {
    async list(account: string): Promise<readonly KeptKeyName[]> {
      const found = await findKeys(join(dir, hex(account)), account);
      const newest = found.sort((a, b) => b.changed - a.changed);
      const oldest = Date.now() - KEPT_MS;
      const isKept = ({ id, changed }: StoredKey, i: number) =>
        isKeyId(id) && i < MOST_KEPT && changed >= oldest;
      // What a process that was killed was writing goes with the old ones.
      for (const [i, key] of newest.entries()) {
        const isTemporary = !isKeyId(key.id) && key.changed >= Date.now() - 3_600_000;
        if (!isKept(key, i) && !isTemporary) await rm(key.path, { force: true });
      }
      return newest.filter(isKept).map(({ bundle, id }) => ({ account, bundle, id }));
    },
    async get(name: KeptKeyName): Promise<Uint8Array | undefined> {
      const file = await readFile(pathOf(name)).catch(() => undefined);
      return file && new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
    },
    async put(name: KeptKeyName, bytes: Uint8Array): Promise<void> {
      await mkdir(folderOf(name), { recursive: true, mode: 0o700 });
      await writeFiles([{ path: pathOf(name), bytes, mode: 0o600 }]);
    },
    async remove(name: KeptKeyName): Promise<void> {
      await rm(pathOf(name), { force: true });
    },
  };
}

async function findKeys(dir: string, account: string): Promise<StoredKey[]> {
  const found: StoredKey[] = [];
  for (const bundle of await names(dir)) {
    for (const id of await names(join(dir, bundle))) {
      const path = join(dir, bundle, id);
      const file = await stat(path).catch(() => undefined);
      if (file?.isFile()) found.push({ account, bundle, id, path, changed: file.mtimeMs });
    }
  }
  return found;
}

const names = (dir: string): Promise<string[]> => readdir(dir).catch(() => []);

const isKeyId = (name: string): boolean => /^[0-9a-f]{32}$/.test(name);

/** Names become paths: nothing but hex digits. */
function hex(name: string): string {
  if (!/^[0-9a-f]{32,64}$/.test(name)) throw new RangeError("not a hash or an id in hex");
  return name;
}
