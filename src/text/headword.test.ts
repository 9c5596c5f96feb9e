import { describe, expect, it } from "vitest";
import { headwordOf } from "./headword.ts";

describe("headwordOf", () => {
  it.each([
    ["tender", "tender"],
    ["Tender", "tender"],
    [" TENDER? ", "tender"],
    ["“Tender”?!", "tender"],
    ["'tender'.", "tender"],
    ["What is bail?", "bail"],
    ["what's a battery", "battery"],
    ["What\u2019s arson?", "arson"],
    ["What does consideration mean?", "consideration"],
    ['What does the word "consideration" mean?', "consideration"],
    ["Define: will", "will"],
    ["define will", "will"],
    ["please explain the term trust", "trust"],
    ["What is the meaning of the word bond?", "bond"],
    ["the definition of debt", "debt"],
    ["Mother-in-law", "mother-in-law"],
    ["what", "what"],
    ["define", "define"],
    ["meaning", "meaning"],
    ["Ärger", "ärger"],
  ])("%s → %s", (question, text) => {
    expect(headwordOf(question)).toEqual({ text, isOneWord: true });
  });

  it.each([
    ["Can my landlord keep my deposit?", "can my landlord keep my deposit"],
    ["What is the best law?", "what is the best law"],
    ["two\nlines", "two lines"],
  ])("says of %j that it is more than a word", (question, text) => {
    expect(headwordOf(question)).toEqual({ text, isOneWord: false });
  });

  it("leaves what has no letter as it is", () => {
    expect(headwordOf(" ?! ")).toEqual({ text: "?!", isOneWord: true });
  });
});
