// A private answer and a private conversation, from a program.
// node examples/library.mjs [ws://127.0.0.1:8787]
import { fileURLToPath } from "node:url";
import { connect } from "tacet";

const law = await connect({
  base: fileURLToPath(new URL("../models/lexicon/base", import.meta.url)),
  provider: process.argv[2] ?? "ws://127.0.0.1:8787",
});

// Piece by piece, as it is generated.
for await (const { text } of law.generate("tender")) process.stdout.write(text);
console.log();

// At once, with what ended it.
const { text, reason, promptTokens } = await law.generate("battery", { stop: [" of"] }).end;
console.log(`${text} [${reason}, ${promptTokens} tokens read]`);

// A conversation: what was read before is not read again.
const chat = await law.chat();
for (const word of ["arson", "bail"]) {
  const answer = await chat.send(word, { maxNewTokens: 24 }).end;
  console.log(`${answer.text} [${answer.cachedTokens} tokens from the cache]`);
}
chat.dispose();

console.log(`${law.adapter}: ${law.traffic.roundTrips} queries, ${law.traffic.vectors} activation vectors`);
await law.close();
