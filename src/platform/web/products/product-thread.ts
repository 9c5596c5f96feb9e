/** A worker that multiplies with rounded weights: a script that platform/web/threads.ts starts. */
import type { FromProductThread, ToProductThread } from "./messages.ts";
import { serveProducts } from "./serve-products.ts";

/** What a dedicated worker has; the DOM's own types are a page's. */
interface Scope {
  postMessage(message: FromProductThread): void;
  onmessage: ((event: MessageEvent<ToProductThread>) => void) | null;
}

const scope = self as unknown as Scope;
const receive = serveProducts((message) => scope.postMessage(message));
scope.onmessage = ({ data }) => receive(data);
