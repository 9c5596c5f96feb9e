import type { Socket } from "node:net";
import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { TurnWrites } from "./turn-writes.ts";

/** A stream that notes what leaves it, each write as one text. */
function streamTo(left: string[], name = ""): Socket {
  const stream = new Writable({
    writev(chunks, done) {
      left.push(name + chunks.map(({ chunk }) => (chunk as Buffer).toString()).join("|"));
      done();
    },
  });
  return stream as unknown as Socket;
}

const turnEnd = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("TurnWrites", () => {
  it("writes a stream's messages of one turn at once, at its end, and streams in the order in which they began", async () => {
    const left: string[] = [];
    const writes = new TurnWrites();
    const [a, b] = [streamTo(left, "a:"), streamTo(left, "b:")];
    for (const [stream, text] of [
      [a, "1"],
      [b, "2"],
      [a, "3"],
    ] as const) {
      writes.collect(stream);
      stream.write(text);
    }
    // What follows in the same turn, of microtasks too, is collected.
    await Promise.resolve();
    writes.collect(b);
    b.write("4");
    expect(left).toEqual([]);
    await turnEnd();
    expect(left).toEqual(["a:1|3", "b:2|4"]);
    writes.collect(a);
    a.write("5");
    await turnEnd();
    expect(left).toEqual(["a:1|3", "b:2|4", "a:5"]);
  });

  it("writes the first message of a turn at once if the turn before had one, and those behind it at the end", async () => {
    const left: string[] = [];
    const writes = new TurnWrites();
    const stream = streamTo(left);
    const send = (text: string) => {
      writes.collect(stream);
      stream.write(text);
    };
    send("1");
    expect(left).toEqual([]);
    await turnEnd();
    expect(left).toEqual(["1"]);
    send("2");
    expect(left).toEqual(["1", "2"]);
    // A turn without messages says nothing of the next one.
    await turnEnd();
    await turnEnd();
    for (const text of ["3", "4", "5"]) send(text);
    expect(left).toEqual(["1", "2", "3"]);
    await turnEnd();
    expect(left).toEqual(["1", "2", "3", "4|5"]);
    send("6");
    send("7");
    expect(left).toHaveLength(4);
    await turnEnd();
    expect(left.at(-1)).toBe("6|7");
  });

  it("does not keep the first of many waiting for all the others", async () => {
    const left: string[] = [];
    const writes = new TurnWrites();
    for (let i = 0; i < 65; i++) {
      const stream = streamTo(left);
      writes.collect(stream);
      stream.write(`${i}`);
    }
    expect(left).toEqual(Array.from({ length: 64 }, (_, i) => `${i}`));
    await turnEnd();
    expect(left).toHaveLength(65);
  });

  it("sends what was written before a stream ends, and leaves one that was destroyed alone", async () => {
    const left: string[] = [];
    const writes = new TurnWrites();
    const [ended, destroyed] = [streamTo(left), streamTo(left)];
    for (const stream of [ended, destroyed]) {
      writes.collect(stream);
      stream.write("last");
    }
    ended.end();
    destroyed.destroy();
    expect(left).toEqual(["last"]);
    await turnEnd();
    expect(left).toEqual(["last"]);
  });
});
