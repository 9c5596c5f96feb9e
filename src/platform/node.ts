/** Tacet in Node: files, ONNX Runtime, WebSockets. @module */
import type { Platform } from "../base/platform.ts";
import { nodeFileCache } from "./node-file-cache.ts";
import { connectSocket } from "./node-socket.ts";
import { nodeTensorRuntime } from "./node-tensors.ts";

export { defaultCacheDir, nodeBundleCache, writeAtomically } from "./node-bundle-cache.ts";
export type { TlsFiles } from "./node-certificate.ts";
export { nodeFileCache } from "./node-file-cache.ts";
export { nodeFileTree } from "./node-files.ts";
export { type DownloadOptions, downloadFromHub } from "./node-hub.ts";
export { type HubId, parseHubId } from "./node-hub-names.ts";
export { type OpenedJournal, openJournal, readJournal } from "./node-journal.ts";
export { type FolderLock, lockFolder } from "./node-lock.ts";
export { connectRedis, type RedisLinkOptions } from "./node-redis.ts";
export { type ServeOptions, type SocketServer, serveSockets } from "./node-server.ts";
export { watchTextFile } from "./node-watched-file.ts";
export { WorkerPool, type WorkerStart } from "./node-worker-pool.ts";

export function nodePlatform(): Platform {
  return { tensors: nodeTensorRuntime(), connect: connectSocket, weightCache: nodeFileCache() };
}
