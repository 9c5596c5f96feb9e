/** Eight programs ask one endpoint at once, whose provider is behind a line: each gets what it would get alone. */
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { startLink } from "../support/link/link.ts";
import { lexicon, lexiconEntries, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { spawnTacet } from "../support/tacet-process.ts";

const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

it("eight answers at once are what each is alone", async () => {
  const state = join(folder.path, "lexicon");
  await (await lexicon()).writeState(state);
  const { url } = await startProvider(state);
  const link = await startLink(url, { roundTripMs: 2, upMbits: 100, downMbits: 100 });
  const served = await spawnTacet(["serve", "--provider", link.url, "--port", "0", "--parallel", "8"]);
  // Answers that no error of the private layer turns into another one.
  const entries = lexiconEntries()
    .sort((a, b) => b.adapter.min_gap - a.adapter.min_gap)
    .slice(0, 8);
  const answers = await Promise.all(
    entries.map(async ({ word }) => {
      const body = { model: "test", messages: [{ role: "user", content: word }], temperature: 0 };
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${served.url}/chat/completions`, {
        method: "POST",
        headers,
        body: JSON.stringify(body),
      });
      const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
      return choices[0].message.content;
    }),
  );
  expect(answers).toEqual(entries.map(({ adapter }) => adapter.text));
  await link.close();
});
