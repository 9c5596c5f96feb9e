import { describe, expect, it } from "vitest";
import { TacetError } from "../base/errors.ts";
import { type Answer, type AnswerEnd, answerOf } from "./answer.ts";

const WORDS = ["a", " part", " of", " law"];

/** Gives out WORDS; `log` tells what ran. */
function words(log: string[] = [], failAt = Number.POSITIVE_INFINITY): Answer {
  return answerOf(async function* (counts) {
    log.push("began");
    Object.assign(counts, { promptTokens: 7, cachedTokens: 3 });
    try {
      for (const [index, text] of WORDS.entries()) {
        if (index === failAt) throw new TacetError("connection_lost", "gone");
        yield { text, token: { id: 10 + index, index } };
      }
      return { reason: "eos", text: WORDS.join(""), ids: [10, 11, 12, 13], promptTokens: 7, cachedTokens: 3 };
    } finally {
      log.push("cleaned up");
    }
  });
}

const END: AnswerEnd = {
  reason: "eos",
  text: "a part of law",
  ids: [10, 11, 12, 13],
  promptTokens: 7,
  cachedTokens: 3,
};

describe("an answer", () => {
  it("is read by a loop, then its end is known", async () => {
    const answer = words();
    const texts: string[] = [];
    for await (const { text } of answer) texts.push(text);
    expect(texts).toEqual(WORDS);
    expect(await answer.end).toEqual(END);
    expect(await answer.text()).toBe("a part of law");
  });

  it("is read by text() or end where no loop reads it, once for both", async () => {
    const log: string[] = [];
    const answer = words(log);
    const [text, end] = await Promise.all([answer.text(), answer.end]);
    expect(text).toBe("a part of law");
    expect(end).toEqual(END);
    expect(log).toEqual(["began", "cleaned up"]);
  });

  it("runs nothing before somebody reads it", async () => {
    const log: string[] = [];
    words(log);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(log).toEqual([]);
  });

  it("lets a loop read it whose end was taken before", async () => {
    const answer = words();
    const { end } = answer;
    let text = "";
    for await (const piece of answer) text += piece.text;
    expect(text).toBe((await end).text);
  });

  it("is broken off by leaving the loop, and ends with what there was", async () => {
    const log: string[] = [];
    const answer = words(log);
    for await (const { text } of answer) if (text === " part") break;
    expect(log).toEqual(["began", "cleaned up"]);
    expect(await answer.end).toEqual({
      reason: "aborted",
      text: "a part",
      ids: [10, 11],
      promptTokens: 7,
      cachedTokens: 3,
    });
    expect(await answer.text()).toBe("a part");
  });

  it("ends also where its reader left before the first piece, or threw", async () => {
    const left = words();
    await left[Symbol.asyncIterator]().return?.();
    expect(await left.end).toMatchObject({ reason: "aborted", text: "", ids: [] });
    const thrown = words();
    await expect(
      (async () => {
        for await (const _ of thrown) throw new Error("the reader's own");
      })(),
    ).rejects.toThrow("the reader's own");
    expect(await thrown.end).toMatchObject({ reason: "aborted", text: "a" });
  });

  it("is read once", async () => {
    const answer = words();
    for await (const _ of answer);
    expect(() => answer[Symbol.asyncIterator]()).toThrow(TypeError);
    const asked = words();
    await asked.text();
    expect(() => asked[Symbol.asyncIterator]()).toThrow("read once");
  });

  it("says that it is over as often as it is asked", async () => {
    const pieces = words()[Symbol.asyncIterator]();
    for (let i = 0; i < WORDS.length; i++) expect((await pieces.next()).done).toBe(false);
    for (let i = 0; i < 3; i++) expect(await pieces.next()).toEqual({ done: true, value: undefined });
  });

  it("fails in the loop, in end and in text() alike, and nobody has to ask all three", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    try {
      const looped = words([], 2);
      const texts: string[] = [];
      await expect(
        (async () => {
          for await (const { text } of looped) texts.push(text);
        })(),
      ).rejects.toMatchObject({ code: "connection_lost" });
      expect(texts).toEqual(["a", " part"]);
      await expect(looped.end).rejects.toMatchObject({ code: "connection_lost" });
      await expect(words([], 0).text()).rejects.toMatchObject({ code: "connection_lost" });
      await expect(words([], 1).end).rejects.toMatchObject({ code: "connection_lost" });
      const alone = words([], 1);
      await expect(
        (async () => {
          for await (const _ of alone);
        })(),
      ).rejects.toBeInstanceOf(TacetError);
      await new Promise((resolve) => setTimeout(resolve, 0));
      expect(unhandled).toEqual([]);
    } finally {
      process.off("unhandledRejection", note);
    }
  });
});
