/** What a user should know of the link to a provider: that it was lost and is back, that a token travels in clear. */
import type { Platform } from "../../base/platform.ts";
import { isLoopback } from "./loopback.ts";
import { warn } from "./terminal.ts";

/** Whoever listens on the way can use a token that travels in clear. */
export function warnOfClearToken(token: string | undefined, urls: readonly string[]): void {
  if (token === undefined) return;
  const open = urls.find((url) => {
    const { protocol, hostname } = URL.canParse(url) ? new URL(url) : { protocol: "", hostname: "" };
    return protocol === "ws:" && !isLoopback(hostname);
  });
  if (open === undefined) return;
  warn(`the token travels in clear to ${new URL(open).host}: use wss:// if the provider offers it`);
}

/** A platform that says so when a connection that once stood is opened again. */
export function announceReconnects(runtime: Platform, seconds: number): Platform & { connected(): void } {
  let stood = false;
  let waiting = false;
  return {
    ...runtime,
    connected() {
      stood = true;
    },
    async connect(url, options) {
      if (stood && !waiting) {
        warn(`the connection to the provider was lost; trying for ${seconds} s to get it back`);
        waiting = true;
      }
      const socket = await runtime.connect(url, options);
      waiting = false;
      return socket;
    },
  };
}
