/** `tacet inspect`: what something is. Facts first, then lines or JSON of the same facts. */
import { readFile } from "node:fs/promises";
import { toHex } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import { type Bundle, decodeBundle } from "../../bundle/bundle.ts";
import { partsToPublish } from "../../bundle/published-parts.ts";
import type { BundleSignature } from "../../bundle/signature.ts";
import { RemoteProvider } from "../../client/remote-provider.ts";
import { baseIdentity, vectorsFingerprint } from "../../model/base-identity.ts";
import { describeDecoder } from "../../model/architectures/registry.ts";
import { linearPlaces, outlineOf } from "../../model/graph/write-decoder.ts";
import { refuseMoreLayers } from "../../model/layer-count.ts";
import {
  errnoOf,
  nodeBundleCache,
  nodeFileTree,
  nodePlatform,
  nodePublicKeyEd25519,
} from "../../platform/node.ts";
import { BUNDLE_FILE, loadServedAdapter } from "../../provider/served-adapter.ts";
import { hasTokenizer } from "../../text/tokenizer.ts";
import { checkWeights } from "../../weights/check-weights.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../weights/fingerprint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { costOf, securityFacts } from "../shared/bundle-facts.ts";
import { EMBEDDED_BASE } from "../shared/embedded.ts";
import { modelFolder } from "../shared/model-folder.ts";
import { publishedFacts } from "../shared/published-facts.ts";
import { Progress } from "../shared/progress.ts";
import { warnOfClearToken } from "../shared/link-notices.ts";
import { printJson, warn } from "../shared/terminal.ts";
import { clientToken } from "../shared/token.ts";
import { type CompareOptions, compareBases } from "./compare-bases.ts";
import { printFacts } from "./print-facts.ts";

export interface InspectOptions extends CompareOptions {
  readonly checkWeights?: boolean;
  readonly adapter?: string;
  readonly bundle?: string;
  readonly state?: string;
  readonly provider?: readonly string[];
  readonly adapterName?: string;
  readonly tokenFile?: string;
  readonly json?: boolean;
}

type Facts = Record<string, unknown>;

export async function runInspect(options: InspectOptions, signal: AbortSignal): Promise<void> {
  const facts = await factsOf(options, signal);
  if (options.json) printJson(facts);
  else printFacts(facts);
}

async function factsOf(options: InspectOptions, signal: AbortSignal): Promise<Facts> {
  const { base, adapter, bundle, state, provider } = options;
  const given = [provider ? undefined : base, adapter, bundle, state, provider];
  if (given.filter((value) => value !== undefined).length !== 1) {
    throw new TacetError("bad_argument", "inspect takes one thing at a time", {
      hint: "give one of --base, --adapter, --bundle, --state and --provider (with its --base)",
    });
  }
  refuseStray(options);
  if (options.against !== undefined) return await compareBases(options, signal);
  if (options.checkWeights && (base === undefined || provider !== undefined))
    throw new TacetError("bad_argument", "--check-weights needs --base alone");
  if (provider !== undefined) return await providerFacts(provider, options, signal);
  if (adapter !== undefined) return await adapterFacts(await modelFolder(adapter, "adapter", signal));
  if (bundle !== undefined) return { kind: "bundle", ...bundleFacts(await readBundle(bundle)) };
  if (state !== undefined) return await stateFacts(state);
  return await baseFacts(await baseFolder(base, signal), options.checkWeights ?? false, signal);
}

/** @throws TacetError bad_argument for options of a comparison without one */
function refuseStray({ base, against, provider, checkWeights, ...options }: InspectOptions): void {
  if (against !== undefined) {
    if (base !== undefined && provider === undefined && !checkWeights) return;
    throw new TacetError("bad_argument", "--against needs --base alone");
  }
  const { weights, againstWeights, weightsCache, text, tokens, threads } = options;
  const needing = { weights, againstWeights, weightsCache, text, tokens, threads };
  const stray = Object.entries(needing).find(([, value]) => value !== undefined);
  if (stray === undefined) return;
  const option = stray[0].replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new TacetError("bad_argument", `--${option} needs --base and --against`);
}

async function baseFolder(base: string | undefined, signal: AbortSignal): Promise<string> {
  return base === undefined ? EMBEDDED_BASE : await modelFolder(base, "base", signal);
}

async function baseFacts(dir: string, check: boolean, signal: AbortSignal): Promise<Facts> {
  const checkpoint = await openCheckpoint(nodeFileTree(dir));
  if (check) {
    await Progress.during("reading the weights", (onProgress) =>
      checkWeights(checkpoint, { signal, onProgress }),
    );
  }
  const decoder = describeDecoder(checkpoint);
  refuseMoreLayers(linearPlaces(decoder), checkpoint);
  let parameters = 0;
  let weightBytes = 0;
  const dtypes = new Set<string>();
  for (const name of checkpoint.names) {
    const { shape } = checkpoint.tensor(name);
    parameters += shape.reduce((product, length) => product * length, 1);
  }
  const files = checkpoint.files ?? checkpoint;
  for (const name of files.names) {
    const { bytes, dtype } = files.tensor(name);
    weightBytes += bytes;
    dtypes.add(dtype);
  }
  const tokenizer = await hasTokenizer(checkpoint);
  return {
    kind: "base model",
    architectures: checkpoint.config.architectures ?? checkpoint.config.model_type,
    ...(checkpoint.storedAs === undefined ? {} : { storedAs: checkpoint.storedAs }),
    fingerprint: toHex(await fingerprintCheckpoint(checkpoint)),
    vectorsFingerprint: toHex(await vectorsFingerprint(checkpoint)),
    parameters,
    weightBytes,
    dtypes: [...dtypes].sort(),
    tensors: files.names.length,
    tokenizer,
    ...(check ? { weightsFinite: true } : {}),
    config: outlineOf(decoder),
  };
}

async function adapterFacts(dir: string): Promise<Facts> {
  const adapter = await openLoraAdapter(nodeFileTree(dir));
  const modules = [...adapter.modules.values()].map(({ name, rank, scale, inFeatures, outFeatures }) => ({
    name,
    rank,
    scale,
    inFeatures,
    outFeatures,
  }));
  const parameters = modules.reduce((sum, m) => sum + m.rank * (m.inFeatures + m.outFeatures), 0);
  const { more } = adapter;
  if (!more) return { kind: "adapter", parameters, modules };
  const inTheClear = partsToPublish({ ...more, scales: more.magnitudes }, adapter.modules.values());
  return { kind: "adapter", parameters, modules, inTheClear };
}

async function stateFacts(dir: string): Promise<Facts> {
  // Loads the private file too: a state folder that cannot be served is an error.
  const { bundle, signature } = await loadServedAdapter(nodeFileTree(dir), {
    publicKeyEd25519: nodePublicKeyEd25519,
  });
  return { kind: "state folder", ...signedBy(signature), ...bundleFacts(bundle), servable: true };
}

async function readBundle(path: string): Promise<Bundle> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    const hint = `give the file, not its folder: ${BUNDLE_FILE}`;
    throw new TacetError("io_failed", `${path} cannot be read (${errnoOf(cause)})`, { hint });
  });
  return await decodeBundle(bytes);
}

async function providerFacts(
  url: readonly string[],
  { base, adapterName, tokenFile }: InspectOptions,
  signal: AbortSignal,
): Promise<Facts> {
  const { fingerprint: baseFingerprint } = await baseIdentity(
    await openCheckpoint(nodeFileTree(await baseFolder(base, signal))),
  );
  const token = await clientToken(tokenFile);
  warnOfClearToken(token, url);
  const { provider, bundle } = await Progress.during("fetching the bundle", (onBundleProgress) =>
    RemoteProvider.connect(nodePlatform(), {
      url,
      baseFingerprint,
      signal,
      onBundleProgress,
      onWarning: warn,
      cache: nodeBundleCache(),
      adapter: adapterName,
      token,
    }),
  );
  try {
    const { limits, signature } = provider.welcome;
    const { maxMessageBytes, maxVectors, maxInFlight } = limits;
    return {
      kind: "provider",
      url,
      limits: { maxMessageBytes, maxVectors, maxInFlight },
      budget: provider.budget,
      ...signedBy(signature),
      ...bundleFacts(bundle),
    };
  } finally {
    provider.close();
  }
}

function signedBy(signature: BundleSignature | undefined): Facts {
  return signature === undefined ? {} : { signedBy: toHex(signature.publicKey) };
}

function bundleFacts({ manifest, digest, bytes }: Bundle): Facts {
  return {
    adapter: manifest.adapter,
    digest: toHex(digest),
    bytes: bytes.length,
    baseFingerprint: manifest.baseFingerprint,
    baseVectorsFingerprint: manifest.baseVectorsFingerprint,
    keySigner: manifest.keySigner,
    cost: costOf(manifest.parameters, manifest.groups),
    security: securityFacts(manifest),
    text: manifest.text,
    invocationTokens: manifest.invocationTokens,
    ...publishedFacts(manifest),
    parameters: manifest.parameters,
    groups: manifest.groups,
  };
}
