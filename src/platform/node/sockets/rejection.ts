/**
 * Why a connection was turned away or cut off below the protocol. In a separate file because programs may name it: the
 * types of `ws`, which connection-limiter.ts needs, are not installed with the package.
 */
export type Rejection =
  | "too-many-connections"
  | "too-many-of-address"
  | "slow-message"
  | "foreign-page"
  | "bad-handshake";
