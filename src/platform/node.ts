/** Tacet in Node: files, ONNX Runtime, WebSockets. @module */
import type { Device } from "../base/device.ts";
import type { Platform } from "../base/platform.ts";
import { nodeFileCache } from "./node/files/file-cache.ts";
import { nodeSha256 } from "./node/sha256.ts";
import { connectSocket } from "./node/sockets/socket.ts";
import { nodeTensorRuntime } from "./node/tensors.ts";
import { nodeEncryption } from "./node/threads.ts";

export { nodeAfterEvents } from "./node/after-events.ts";
export { type FileToWrite, writeFiles } from "./node/files/atomic-write.ts";
export { defaultCacheDir, nodeBundleCache } from "./node/files/bundle-cache.ts";
export { errnoOf } from "./node/files/errno.ts";
export { nodeFileCache } from "./node/files/file-cache.ts";
export { nodeFileTree } from "./node/files/file-tree.ts";
export { type OpenedJournal, openJournal, readJournal } from "./node/files/journal.ts";
export { nodeKeyCache } from "./node/files/key-cache.ts";
export { type FileLock, type LockOptions, lockFile } from "./node/files/lock-file.ts";
export { findModel, isFolder } from "./node/files/model-folder.ts";
export { watchTextFile } from "./node/files/watched-file.ts";
export { type DownloadOptions, downloadFromHub } from "./node/hub/download.ts";
export { type HubId, parseHubId } from "./node/hub/names.ts";
export { connectRedis, type RedisLinkOptions } from "./node/redis.ts";
export type { TlsFiles } from "./node/sockets/certificate.ts";
export { type ServeOptions, type SocketServer, serveSockets } from "./node/sockets/server.ts";
export { WorkerPool, type WorkerStart } from "./node/worker-pool.ts";

/** What a platform is made with. */
export interface NodePlatformOptions {
  /** Where models run. Default: "cpu". */
  readonly device?: Device | undefined;
}

export function nodePlatform({ device }: NodePlatformOptions = {}): Platform {
  return {
    tensors: nodeTensorRuntime(device),
    encryption: nodeEncryption(),
    sha256: nodeSha256,
    connect: connectSocket,
    weightCache: nodeFileCache(),
  };
}
export { nodePublicKeyEd25519, nodeSignEd25519 } from "./node/ed25519.ts";
export { nodeSha256 } from "./node/sha256.ts";
