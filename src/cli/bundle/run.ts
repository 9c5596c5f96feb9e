/** `tacet bundle`: prepares an adapter for serving. */
import { stat } from "node:fs/promises";
import { type InitializationSign, initializationSigns } from "../../audit/initialization.ts";
import { toHex } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import { grouped } from "../../base/show-number.ts";
import { checkAdapterName } from "../../bundle/manifest.ts";
import { parsePartNames } from "../../bundle/published-parts.ts";
import { signBundle } from "../../bundle/signature.ts";
import { stateFiles, writeStateFolder } from "../../library/node-state-folder.ts";
import { carryOver } from "../../model/adapter/carry-over.ts";
import { fitAdapter } from "../../model/adapter/fit-adapter.ts";
import { vocabSizeOf } from "../../model/config-facts.ts";
import { nodeFileTree } from "../../platform/node.ts";
import { readAdapterText } from "../../text/read-adapter-text.ts";
import { invocationInText } from "../../text/invocation.ts";
import { loadServedAdapter } from "../../provider/provider.ts";
import { openCheckpoint, withAdapterText } from "../../weights/checkpoint.ts";
import { quoteName } from "../../weights/json-file.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import {
  costOf,
  SECURITY_PROMISE,
  securityFacts,
  showBits,
  showFunctionVectors,
} from "../shared/bundle-facts.ts";
import { describePublished, publishedFacts } from "../shared/published-facts.ts";
import { describeText } from "../shared/describe-text.ts";
import { EMBEDDED_BASE, isEmbeddedAdapter } from "../shared/embedded.ts";
import { modelFolder, nameOf } from "../shared/model-folder.ts";
import { print, printField, printJson, showBytes, warn, wrap } from "../shared/terminal.ts";
import { Progress } from "../shared/progress.ts";
import { makeBundle } from "./make-bundle.ts";
import { readSigningKey } from "./signing-key.ts";

export interface BundleOptions {
  readonly adapter: string;
  readonly base?: string;
  readonly trainedOn?: string;
  readonly out: string;
  readonly name?: string;
  readonly publish?: readonly string[];
  readonly signingKey?: string;
  readonly marksOf?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export async function runBundle(options: BundleOptions, signal: AbortSignal): Promise<void> {
  const paths = stateFiles(options.out);
  if (!options.force) await refuseExisting([paths.bundle, paths.private]);
  const name = checkAdapterName(options.name ?? nameOf(options.adapter));
  const publish = parsePartNames(options.publish ?? []);
  const base = options.base === undefined ? EMBEDDED_BASE : await modelFolder(options.base, "base", signal);
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const original =
    options.trainedOn === undefined
      ? undefined
      : await openCheckpoint(nodeFileTree(await modelFolder(options.trainedOn, "base", signal)));
  if (checkpoint.storedAs !== undefined && original === undefined) {
    warn(servedToCopies(checkpoint.storedAs));
  }
  const tree = nodeFileTree(await modelFolder(options.adapter, "adapter", signal));
  const adapter = await openLoraAdapter(tree);
  const { text, readsMessages } = await readAdapterText(tree, checkpoint, vocabSizeOf(checkpoint));
  const fitted =
    original === undefined
      ? await fitAdapter(adapter, checkpoint)
      : await Progress.during("comparing with the original", async (onProgress) =>
          carryOver(await fitAdapter(adapter, original), original, checkpoint, { signal, onProgress }),
        );
  const made = await makeBundle(checkpoint, fitted, {
    ...{ name, publish, signal },
    text,
    markSecret: await formerMarks(options),
  });
  const signingKey = options.signingKey === undefined ? undefined : await readSigningKey(options.signingKey);
  const signature = signingKey && signBundle(signingKey, made.digest);
  await writeStateFolder(options.out, made, signature);
  const signedBy = signature && toHex(signature.publicKey);

  const { groups, invocationTokens } = fitted;
  const said =
    invocationTokens &&
    (await invocationInText(text ? withAdapterText(checkpoint, text) : checkpoint, invocationTokens));
  if (said !== undefined) {
    warn(
      `the adapter is invoked by ${quoteName(said)}, which may stand in what people write: you would learn where, so ` +
        "clients must allow it (--allow-invocation); control tokens alone they need not",
    );
  }
  const signs = initializationSigns(
    // PEFT begins an embedding's A at zero.
    groups
      .filter(({ input }) => input !== "ids")
      .flatMap(({ modules }) => modules.flatMap((m) => adapter.modules.get(m) ?? [])),
  );
  if (!options.json) {
    warnOfInitialization(signs);
    if (signs.length > 0 && isEmbeddedAdapter(options.adapter)) {
      for (const line of wrap(EMBEDDED_MAY, 80)) print(line);
      print();
    }
  }
  if (readsMessages) {
    warn(
      "the adapter's chat template writes other prompts where messages have other words; clients do not let it see " +
        "them, and put every message in as it is",
    );
  }
  const { manifest } = made;
  const cost = costOf(manifest.parameters, manifest.groups);
  const security = securityFacts(manifest);
  if (options.json) {
    printJson({
      adapter: name,
      digest: toHex(made.digest),
      signedBy,
      baseFingerprint: manifest.baseFingerprint,
      baseVectorsFingerprint: manifest.baseVectorsFingerprint,
      groups: groups.length,
      modules: adapter.modules.size,
      text,
      invocationTokens,
      ...publishedFacts(manifest),
      files: [
        { path: paths.bundle, bytes: made.bundle.length, public: true },
        { path: paths.private, bytes: made.privateState.length, public: false },
      ],
      cost,
      security,
      initialization: signs,
    });
    return;
  }
  printField("adapter", name, 16);
  printField("digest", toHex(made.digest), 16);
  if (signedBy !== undefined) printField("signed by", signedBy, 16);
  printField("modules", `${adapter.modules.size} in ${groups.length} groups`);
  for (const line of describeText(text)) printField("text", line);
  for (const line of describePublished(manifest)) printField("in the clear", line);
  if (invocationTokens) printField("invoked by", `the token ids ${invocationTokens.join(", ")}`);
  printField("public file", `${paths.bundle}, ${showBytes(made.bundle.length)}: clients get it`);
  printField("private file", `${paths.private}, ${showBytes(made.privateState.length)}: keep it secret`);
  print();
  printField("a token", `${grouped(cost.bytesUp)} bytes up, ${grouped(cost.bytesDown)} down`);
  printField("a key", `${showBytes(cost.keyBytes)} down, for ${cost.tokensPerKey} tokens`);
  printField("provider", `${grouped(cost.providerMacs)} multiply-adds a token`);
  print();
  printField("query", showBits(security.query));
  printField("key", showBits(security.key));
  printField("key, worn out", showBits(security.wornKey));
  printField("function", showFunctionVectors(security));
  for (const line of wrap(SECURITY_PROMISE, 80)) print(line);
}

/** An account's marks are the same in all versions of an adapter: a thief who puts copies of two together gains nothing. */
async function formerMarks({ marksOf, force, out }: BundleOptions): Promise<Uint8Array | undefined> {
  const isReplaced = force && (await stat(stateFiles(out).private).catch(() => undefined)) !== undefined;
  const from = marksOf ?? (isReplaced ? out : undefined);
  if (from === undefined) return undefined;
  try {
    return (await loadServedAdapter(nodeFileTree(from), { marks: true })).markSecret;
  } catch (error) {
    if (marksOf !== undefined) throw error;
    warn(`the marks of what stood in ${out} can't be read: accounts get other marks from now on`);
    return undefined;
  }
}

const EMBEDDED_MAY =
  "The embedded example may be so: it is published with tacet, and so is its text. An adapter that is meant to stay " +
  "secret must begin from a seed that nobody can guess (docs/models.md).";

/** A that can be guessed is as good as public: docs/security.md, rule 5. */
function warnOfInitialization(signs: readonly InitializationSign[]): void {
  for (const sign of signs) {
    if (sign.kind === "seed") {
      const seed = sign.seed === "default" ? "the seed it has when none is set" : `seed ${sign.seed}`;
      const how = `correlation ${sign.correlation.toFixed(2)}`;
      warn(
        `A of ${sign.module} began as PyTorch's random numbers under ${seed} (${how}): who guesses that needs ` +
          "few queries for the rest; train again under a random seed of 32 bits, kept secret",
      );
    } else {
      const law = sign.distribution === "uniform" ? "uniform in ±1/√n" : "Gaussian of deviation 1/r";
      warn(
        `A looks like its initialisation, ${law}: training moved it little, so whoever guesses the seed has ` +
          "most of it; the seed must have been random and secret",
      );
    }
  }
}

async function refuseExisting(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) continue;
    throw new TacetError("bad_argument", `${path} exists`, {
      hint: "choose another folder with --out, or replace it with --force",
    });
  }
}

/** Who is served a bundle that was made with a quantized base model. */
function servedToCopies(storedAs: string): string {
  // gpt-oss is published so.
  if (storedAs === "MXFP4")
    return "the base model is in MXFP4, and none who runs it unpacked (BF16) is served; a bundle made with such a copy is served to both";
  const instead = storedAs.startsWith("AWQ")
    ? "AWQ scales activations: if the adapter was trained on the original, give that with --trained-on"
    : "if the adapter was trained on the original, make the bundle with that: it is served to copies too";
  return `the base model is a quantized copy (${storedAs}), and none who runs the original is served; ${instead}`;
}
