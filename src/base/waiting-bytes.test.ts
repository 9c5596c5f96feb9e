import { describe, expect, it } from "vitest";
import type { TacetError } from "./errors.ts";
import { WaitingBytes } from "./waiting-bytes.ts";
import type { WaitingShare } from "./waiting-share.ts";

const MB = 1 << 20;

interface Opened {
  readonly share: WaitingShare;
  readonly happened: string[];
}

function open(account: WaitingBytes, address: string, key?: string): Opened {
  const happened: string[] = [];
  const share = account.open(address, {
    pause: () => happened.push("pause"),
    resume: () => happened.push("resume"),
    destroy: () => happened.push("destroy"),
  });
  share.onCut = ({ code }: TacetError) => happened.push(code);
  share.greet();
  share.welcome(key);
  return { share, happened };
}

describe("waiting bytes", () => {
  it("come to nothing when connections close, whatever was under way", () => {
    const account = new WaitingBytes({ total: 16 * MB });
    const { share } = open(account, "a", "k");
    share.receiving(1000);
    share.sending(2000);
    expect(share.hold(3000)).toBe(true);
    expect(account.bytes).toBe(6000);
    share.taken(500);
    share.receiving(0);
    expect(account.bytes).toBe(4500);
    share.close();
    share.taken(1500);
    share.release(3000);
    share.receiving(7);
    expect(account.bytes).toBe(0);
  });

  it("are few before Hello, some before the Welcome, then a share", () => {
    const account = new WaitingBytes({ total: 16 * MB });
    const happened: string[] = [];
    const silent = account.open("a", { pause() {}, resume() {}, destroy: () => happened.push("destroy") });
    silent.onCut = ({ code }) => happened.push(code);
    silent.receiving(8 << 10);
    expect(happened).toEqual([]);
    silent.receiving(11 << 10);
    expect(happened).toEqual(["too_large", "destroy"]);
    const greeted = account.open("a", { pause() {}, resume() {}, destroy() {} });
    greeted.greet();
    expect([greeted.hold(100 << 10), greeted.hold(100 << 10)]).toEqual([true, false]);
    greeted.welcome();
    expect(greeted.hold(7 * MB)).toBe(true);
    expect(greeted.hold(2 * MB)).toBe(false);
  });

  it("of an address or a key are a share: the connection with the most of it is cut off", () => {
    for (const [address, key] of [
      ["a", undefined],
      ["b", "k"],
    ] as const) {
      const account = new WaitingBytes({ total: 16 * MB });
      const most = open(account, "a", "k");
      const more = open(account, address, key);
      const other = open(account, "c", "l");
      most.share.sending(5 * MB);
      other.share.sending(7 * MB);
      more.share.sending(3 * MB);
      expect(most.happened).toEqual([]);
      more.share.sending(1 * MB);
      expect(most.happened).toEqual(["pause", "unavailable", "destroy"]);
      expect([more.happened, other.happened]).toEqual([[], []]);
      expect(account.bytes).toBe(11 * MB);
    }
  });

  it("at the total cut off who has most of the address with most, whoever comes last", () => {
    const account = new WaitingBytes({ total: 16 * MB });
    const attackers = [0, 1, 2, 3].map(() => open(account, "a"));
    for (const { share } of attackers) share.sending(2 * MB - 1);
    const others = ["b", "c", "d"].map((address) => open(account, address));
    for (const { share } of others) share.sending(2.5 * MB);
    expect(attackers.every(({ happened }) => happened.length === 0)).toBe(true);
    const last = open(account, "e");
    last.share.sending(MB);
    expect(attackers.map(({ happened }) => happened.includes("destroy"))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect([...others, last].every(({ happened }) => happened.length === 0)).toBe(true);
  });

  it("above three quarters let long messages wait, in order, short ones pass, and cut off who is slow", () => {
    const account = new WaitingBytes({ total: 16 * MB });
    const slow = open(account, "a");
    const quick = open(account, "b");
    slow.share.sending(7 * MB);
    quick.share.sending(5.5 * MB);
    account.look(0);
    const [long, short] = [open(account, "c"), open(account, "d")];
    long.share.receiving(100 << 10);
    short.share.receiving(50 << 10);
    expect([long.happened, short.happened]).toEqual([["pause"], []]);
    quick.share.taken(MB / 4);
    quick.share.sending(MB / 4 + 1);
    account.look(1000);
    expect(slow.happened).toEqual(["pause", "unavailable"]);
    slow.share.close();
    expect(long.happened).toEqual(["pause", "resume"]);
    expect(quick.happened).toEqual([]);
  });

  it("are never in the way of all: where nothing moves, the longest message that waits goes on", () => {
    const account = new WaitingBytes({ total: 16 * MB });
    const all = ["a", "b", "c", "d"].map((address) => open(account, address));
    for (const { share } of all) share.receiving(3.2 * MB);
    expect(all.map(({ happened }) => happened)).toEqual([[], [], [], ["pause"]]);
    for (const { share } of all) share.receiving(3.21 * MB);
    expect(all.every(({ happened }) => happened.includes("pause"))).toBe(true);
    account.look(0);
    account.look(1000);
    expect(all.map(({ happened }) => happened.join()).join(" ")).toContain("resume");
    expect(all.every(({ happened }) => !happened.includes("destroy"))).toBe(true);
  });

  it("that nobody takes for half a minute end a connection", () => {
    const account = new WaitingBytes({ total: 16 * MB });
    const { share, happened } = open(account, "a");
    share.sending(1000);
    account.look(performance.now() + 29_000);
    expect(happened).toEqual([]);
    account.look(performance.now() + 31_000);
    expect(happened).toEqual(["pause", "too_many_requests"]);
  });
});
