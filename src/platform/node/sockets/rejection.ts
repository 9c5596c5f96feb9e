/** Why a connection was turned away or cut off below the protocol. */
export type Rejection =
  | "too-many-connections"
  | "too-many-of-address"
  | "slow-message"
  | "foreign-page"
  | "bad-handshake";
