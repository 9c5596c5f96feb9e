/** A worker thread that encrypts queries (client/encryption): a script that platform/node/threads.ts starts. */
import { parentPort } from "node:worker_threads";
import { serveEncryption } from "../client/encryption/serve-encryption.ts";

const receive = serveEncryption((message, transfer) => parentPort?.postMessage(message, [...transfer]));
parentPort?.on("message", receive);
