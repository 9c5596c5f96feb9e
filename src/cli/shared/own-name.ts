/**
 * Requests that a server without keys answers: of this machine, under its own names. A browser says which page asks
 * (Origin), and asks under the name that the page was loaded from (Host); a page whose own name has been pointed here
 * (DNS rebinding) asks under that one.
 */
import type { IncomingMessage } from "node:http";
import { isLoopback } from "./loopback.ts";

export interface OwnNames {
  /** Address that is listened on. */
  readonly host: string;
  /** Other names of this server. */
  readonly hostNames?: readonly string[];
  /** Origins of other machines whose pages may ask. */
  readonly origins?: readonly string[];
}

/** What of a request is not this machine's; undefined: nothing. */
export function foreignTo(request: IncomingMessage, names: OwnNames): "host" | "origin" | undefined {
  const { host, origin } = request.headers;
  const address = request.socket.localAddress;
  const isOwn = (name: string) => isOwnHost(name, address, names);
  if (!isOwn(nameOf(host ?? ""))) return "host";
  if (origin === undefined || names.origins?.includes(origin)) return undefined;
  const page = URL.canParse(origin) ? new URL(origin) : undefined;
  const isPage = page !== undefined && page.origin === origin && /^https?:$/.test(page.protocol);
  return isPage && isOwn(nameOf(page.host)) ? undefined : "origin";
}

/** Loopback, the address listened on and the one that the connection came to, and what was named. */
function isOwnHost(name: string, address: string | undefined, { host, hostNames = [] }: OwnNames): boolean {
  if (name === "") return false;
  const own = [host, ...hostNames, (address ?? "").replace(/^::ffff:(?=[\d.]+$)/i, "").replace(/%.*$/, "")];
  return isLoopback(name) || own.some((each) => each.toLowerCase() === name);
}

/** Without port and brackets. */
function nameOf(host: string): string {
  return host
    .toLowerCase()
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1");
}
