/** Whose a connection is, for limits: an IPv4 address, or an IPv6 network of 64 bits, which one customer is given. */
import { isIPv4, isIPv6 } from "node:net";

/** Bits of an IPv6 address that name the network of one customer (RFC 6177: a /64 at least). */
const NETWORK_GROUPS = 4;

/**
 * One name for each customer's network: "192.0.2.1" also for ::ffff:192.0.2.1, "2001:db8:0:1::/64" for every address
 * of it. Ports and zones are dropped. What is no address comes back as it is.
 */
export function networkOf(text: string): string {
  const address = withoutPort(text.trim()).replace(/%.*$/, "");
  if (isIPv4(address) || !isIPv6(address)) return address;
  const groups = groupsOf(address);
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (mapped) return [groups[6] >> 8, groups[6] & 255, groups[7] >> 8, groups[7] & 255].join(".");
  // All of ::/64 is this machine (::1) or none.
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => group.toString(16));
  return `${network.join(":")}::/64`;
}

/** Some proxies write 192.0.2.1:4711 and [2001:db8::1]:4711. */
function withoutPort(text: string): string {
  const bracketed = /^\[([^\]]*)\](:\d+)?$/.exec(text)?.[1];
  return bracketed ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text;
}

/** The eight 16-bit groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const parse = (part: string): number[] =>
    part === ""
      ? []
      : part.split(":").flatMap((group) => {
          if (!group.includes(".")) return [Number.parseInt(group, 16)];
          const [a, b, c, d] = group.split(".").map(Number);
          return [(a << 8) | b, (c << 8) | d];
        });
  const [front, back] = address.split("::");
  const [first, last] = [parse(front), parse(back ?? "")];
  return [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
}
