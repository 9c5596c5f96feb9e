/**
 * A provider inside a program: adapters, API keys, budgets. What opens sockets, folders and a Redis server for it is in
 * `tacet/platform/node`. docs/library.md, *A provider*.
 * @module
 */
export { type ErrorCode, type ErrorKind, TacetError } from "../base/errors.ts";
export type {
  FileTree,
  Journal,
  MessageSocket,
  PublicKeyEd25519,
  RedisArgument,
  RedisLink,
} from "../base/platform.ts";
export type { WaitingBytes, WaitingLimits } from "../base/waiting-bytes.ts";
export type { ShareAccount, ShareGroup, WaitingEnd, WaitingShare } from "../base/waiting-share.ts";
export type { Bundle } from "../bundle/bundle.ts";
export type { GroupMark } from "../pll/marks.ts";
export { createApiKey, hashApiKey, type NewKey } from "../provider/api-keys.ts";
export type { AskedCounts, Mark } from "../provider/asked-counts.ts";
export { EmbeddedStore, type EmbeddedStoreOptions } from "../provider/embedded-store.ts";
export type { ClientName } from "../provider/events.ts";
export type { KeyRefusal } from "../provider/key-counts.ts";
export type { KeyPart, KeyPlace } from "../provider/key-part.ts";
export type { GroupKey, GroupKeyName } from "../provider/layer-secrets.ts";
export {
  type ComputedReply,
  type KeyPartTask,
  Provider,
  type ProviderEvent,
  type ProviderOptions,
  type ProviderTotals,
  type ReplyPart,
  type ReplyPool,
  type Sha256,
  type SignEd25519,
} from "../provider/provider.ts";
export { RedisStore, type RedisStoreOptions } from "../provider/redis-store.ts";
export { loadServedAdapter, type ServedAdapter } from "../provider/served-adapter.ts";
export type {
  Grant,
  KeyRecord,
  KeyUse,
  ProviderStore,
  Remaining,
  Reservation,
  Reserved,
} from "../provider/store.ts";
export { type Usage, UsageLedger, type UsageOptions } from "../provider/usage-ledger.ts";
export type { RandomSource } from "../ring/random-source.ts";
export { DEFAULT_LIMITS, type Limits } from "../wire/limits.ts";
