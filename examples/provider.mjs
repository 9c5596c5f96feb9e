// A provider inside a program: a bundle is made and signed, an API key with a budget, and queries are counted.
// node examples/provider.mjs [STATE [DATA [PORT]]]
import { fileURLToPath } from "node:url";
import { createBundle, createSigningKey, signBundle, systemRandom } from "tacet/bundle";
import {
  fingerprintCheckpoint,
  fitAdapter,
  openCheckpoint,
  openLoraAdapter,
  readAdapterText,
  vectorsFingerprint,
  vocabSizeOf,
} from "tacet/model";
import {
  changeKeys,
  nodeAfterEvents,
  nodeFileTree,
  nodeSha256,
  nodeSignEd25519,
  openDataFolder,
  serveSockets,
  writeStateFolder,
} from "tacet/platform/node";
import { createApiKey, loadServedAdapter, Provider } from "tacet/provider";

const [state = "law-state", data = "law-data", port = "8787"] = process.argv.slice(2);
const folder = (/** @type {string} */ name) =>
  nodeFileTree(fileURLToPath(new URL(`../models/lexicon/${name}`, import.meta.url)));

// Once for each version of an adapter. Keep the signing key: clients give its public half as `providerKey`.
const checkpoint = await openCheckpoint(folder("base"));
const adapter = await openLoraAdapter(folder("law-adapter"));
// Its own ends of an answer and chat template; the embedded adapter has none.
const { text } = await readAdapterText(folder("law-adapter"), checkpoint, vocabSizeOf(checkpoint));
const made = await createBundle(
  {
    adapter: "law",
    baseFingerprint: await fingerprintCheckpoint(checkpoint),
    baseVectorsFingerprint: await vectorsFingerprint(checkpoint), // what quantized copies of the base are known by
    ...(await fitAdapter(adapter, checkpoint)),
    ...(text === undefined ? {} : { text }),
  },
  systemRandom,
);
await writeStateFolder(state, made, signBundle(createSigningKey(systemRandom), made.digest));

// Once for each client. The key is shown here and never again; the folder has its hash.
const { key, record } = createApiKey({ label: "example", budget: { vectors: 150, windowSeconds: 86_400 } });
await changeKeys(data, (records) => [...records, record]);

// The folder keeps keys and counts, also if this process is killed; with `RedisStore` replicas share them.
const opened = await openDataFolder(data, {}, { onFault: (error) => console.error(error) });
let vectors = 0;
const provider = new Provider([await loadServedAdapter(nodeFileTree(state))], {
  store: opened.store,
  sha256: nodeSha256,
  signEd25519: nodeSignEd25519,
  afterEvents: nodeAfterEvents,
  onEvent(event) {
    if (event.type === "charged") vectors += event.vectors;
  },
});
const server = await serveSockets({
  host: "127.0.0.1",
  port: Number(port),
  maxMessageBytes: provider.limits.maxMessageBytes,
  onConnection: (socket) => provider.accept(socket),
});
console.log(`listening on ${server.url}`);
console.log(`key ${key}`);

process.once("SIGTERM", async () => {
  server.stop();
  await provider.drain();
  await server.close();
  opened.close();
  console.log(`${provider.totals.queries} queries, ${vectors} activation vectors charged`);
});
