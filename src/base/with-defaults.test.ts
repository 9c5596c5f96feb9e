import { expect, it } from "vitest";
import { withDefaults } from "./with-defaults.ts";

it("puts options over their defaults, and what is undefined counts as not given", () => {
  const defaults = { port: 1, host: "here" };
  expect(withDefaults(defaults, { port: undefined, host: "there", more: null })).toStrictEqual({
    port: 1,
    host: "there",
    more: null,
  });
});
