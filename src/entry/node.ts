/**
 * Tacet's client for programs in Node: `connect({ base, provider })`. docs/library.md.
 * @module
 */
export { connect, type NodeConnectOptions as ConnectOptions } from "../library/node-connect.ts";
export * from "./text.ts";
