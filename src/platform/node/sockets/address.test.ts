import { describe, expect, it } from "vitest";
import { networkOf } from "./address.ts";

describe("networkOf", () => {
  it("has one name for all addresses of an IPv6 /64, however they are written, and another for the next", () => {
    const same = [
      "2001:db8:0:1::",
      "2001:DB8:0:1:ffff:1:2:3",
      "2001:0db8::1:0:0:0:9",
      "[2001:db8:0:1::7]:443",
    ];
    expect(new Set(same.map(networkOf))).toEqual(new Set(["2001:db8:0:1::/64"]));
    expect(networkOf("2001:db8:0:2::1")).toBe("2001:db8:0:2::/64");
    expect(networkOf("::1")).toBe("0:0:0:0::/64");
  });

  it("counts an IPv4 address as itself, mapped or not, with or without a port", () => {
    const same = [
      "192.0.2.1",
      "::ffff:192.0.2.1",
      "::FFFF:c000:201",
      "0:0:0:0:0:ffff:192.0.2.1",
      "192.0.2.1:80",
    ];
    expect(new Set(same.map(networkOf))).toEqual(new Set(["192.0.2.1"]));
    expect(networkOf("::ffff:192.0.2.2")).toBe("192.0.2.2");
  });

  it("drops zones, and leaves what is no address", () => {
    expect(networkOf("fe80::1%eth0")).toBe(networkOf("fe80::2%eth1"));
    expect(["unknown", "", "1.2.3", "1:2"].map(networkOf)).toEqual(["unknown", "", "1.2.3", "1:2"]);
  });
});
