/** A worker that encrypts queries (client/encryption): a script that platform/web/threads.ts starts. */
import type { FromThread, ToThread } from "../client/encryption/messages.ts";
import { serveEncryption } from "../client/encryption/serve-encryption.ts";

/** What a dedicated worker has; the DOM's own types are a page's. */
interface Scope {
  postMessage(message: FromThread, transfer: ArrayBuffer[]): void;
  onmessage: ((event: MessageEvent<ToThread>) => void) | null;
}

const scope = self as unknown as Scope;
const receive = serveEncryption((message, transfer) => scope.postMessage(message, [...transfer]));
scope.onmessage = ({ data }) => receive(data);
