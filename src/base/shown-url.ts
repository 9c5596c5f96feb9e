/**
 * A provider's URL as messages show it: without what may be secret, a user's name and password and the query. Messages
 * reach terminals, logs, and whoever asks an endpoint that asks the provider.
 */
export function shownUrl(url: string): string {
  return url.replace(/[?#].*$/s, "").replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/]*@/i, "$1");
}
