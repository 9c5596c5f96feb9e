/** Version of the protocol (docs/protocol.md). It stands in each hello and welcome, and enters the seed of every key. */
export const PROTOCOL_VERSION = 2;
