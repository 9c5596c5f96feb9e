// Breaking off an answer: the conversation keeps what was given out, and goes on.
// node examples/abort.mjs [ws://127.0.0.1:8787]
import { fileURLToPath } from "node:url";
import { connect, TacetError } from "tacet";

const law = await connect({
  base: fileURLToPath(new URL("../models/lexicon/base", import.meta.url)),
  provider: process.argv[2] ?? "ws://127.0.0.1:8787",
});
const chat = await law.chat();

// With a signal, from anywhere: here at the tenth character.
const controller = new AbortController();
let shown = "";
for await (const { text } of chat.send("tender", { signal: controller.signal })) {
  shown += text;
  if (shown.length >= 10) controller.abort();
}
console.log(`broken off: ${shown}`);

// Or by leaving the loop.
for await (const { text } of chat.retry()) if (text !== "") break;
console.log(`kept: ${chat.messages.at(-1)?.content}`);

// The same question once more, to its end.
const { text, reason } = await chat.retry().end;
console.log(`${text} [${reason}]`);

// What goes wrong is a TacetError with a code.
try {
  await chat.send("x ".repeat(law.contextLength)).end;
} catch (error) {
  if (!(error instanceof TacetError)) throw error;
  console.log(`${error.code}: ${error.message}`);
}
await law.close();
