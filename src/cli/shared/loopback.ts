/** Addresses that do not leave this machine. */
const LOOPBACK = /^(127\.\d+\.\d+\.\d+|\[?::1\]?|localhost)$/;

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}
