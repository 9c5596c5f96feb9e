/**
 * Node for `tacet/client`, `tacet/model` and `tacet/provider`: files, hub downloads, ONNX Runtime, sockets, and the
 * folder or server that keeps a provider's keys and counts.
 * @module
 */
export {
  changeKeys,
  nodeSha256,
  type OpenedData,
  openDataFolder,
  readKeys,
  readUsage,
} from "../cli/provider/data-folder.ts";
export { writeStateFolder } from "../library/node-state-folder.ts";
export {
  connectRedis,
  type DownloadOptions,
  downloadFromHub,
  type HubId,
  nodeBundleCache,
  nodeFileCache,
  nodeFileTree,
  nodePlatform,
  parseHubId,
  type RedisLinkOptions,
  type ServeOptions,
  type SocketServer,
  serveSockets,
  type TlsFiles,
} from "../platform/node.ts";
