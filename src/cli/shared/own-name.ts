/** Names under which a server for this machine may be asked; under no other, so that no page reads through it. */

/**
 * Whether a Host header means this machine, or the address that the user chose to listen on. A page whose own name
 * has been pointed here (DNS rebinding) is asked for under that name.
 */
export function isOwnName(header: string | undefined, host: string): boolean {
  const name = (header ?? "").replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return ["localhost", "127.0.0.1", "::1", host].includes(name);
}
