/**
 * What the package exports, name by name: a name that comes, goes or becomes a type only is a change of the public
 * interface, and is made here on purpose.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const ENTRIES = join(ROOT, "src/entry");
const PACKAGE = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

interface Exported {
  readonly values: readonly string[];
  readonly types: readonly string[];
}

/** What the entries for Node and for pages share; no entry itself. */
const SHARED = "text";

/** The names after `export`, as others see them. Anything else in the file is an error. */
function exportsOf(file: string): Exported {
  const names: { name: string; isType: boolean }[] = [];
  const read = (name: string) => readFileSync(join(ENTRIES, `${name}.ts`), "utf8");
  const rest = read(file)
    .replace(`export * from "./${SHARED}.ts";`, () => read(SHARED))
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/export (type )?\{([^}]*)\} from "[^"]+";/g, (_, type: string | undefined, list: string) => {
      for (const item of list.split(",").map((each) => each.trim())) {
        if (item === "") continue;
        const isType = type !== undefined || item.startsWith("type ");
        names.push({ name: item.split(" ").at(-1)!, isType });
      }
      return "";
    });
  expect(rest.trim()).toBe("");
  const sorted = (isType: boolean) =>
    names
      .filter((each) => each.isType === isType)
      .map(({ name }) => name)
      .sort();
  return { values: sorted(false), types: sorted(true) };
}

/** Entry → file of src/entry. */
const FILES: Record<string, string> = {
  ".": "node",
  "./web": "web",
  "./client": "client",
  "./provider": "provider",
  "./openai": "openai",
  "./model": "model",
  "./bundle": "bundle",
  "./pll": "pll",
  "./rlwe": "rlwe",
  "./platform/node": "platform-node",
};

describe("the package's entries", () => {
  it("are the files of src/entry, each with its types", () => {
    const { "./package.json": own, ...entries } = PACKAGE.exports;
    expect(own).toBe("./package.json");
    expect(entries).toEqual(
      Object.fromEntries(
        Object.entries(FILES).map(([entry, file]) => [
          entry,
          { types: `./dist/entry/${file}.d.ts`, default: `./dist/entry/${file}.js` },
        ]),
      ),
    );
    expect(
      readdirSync(ENTRIES)
        .map((name) => name.replace(/\.ts$/, ""))
        .sort(),
    ).toEqual([...Object.values(FILES), SHARED].sort());
  });

  it.each(Object.entries(FILES))("%s exports these names", async (entry, file) => {
    const exported = exportsOf(file);
    expect(exported).toEqual(EXPORTS[entry]);
    const loaded = await import(join(ENTRIES, `${file}.ts`));
    expect(Object.keys(loaded).sort()).toEqual(exported.values);
  });

  it("are built", () => {
    for (const file of Object.values(FILES)) {
      for (const ending of ["js", "d.ts"])
        expect(existsSync(join(ROOT, `dist/entry/${file}.${ending}`)), file).toBe(true);
    }
  });
});

describe("package-lock.json", () => {
  it("marks no install script but that of bufferutil, so that `npm ci` runs none of the others", () => {
    // npm runs scripts of the packages that the lock marks. onnxruntime-node's downloads GPU files, and fails on a
    // closed network; those of the others only check what npm has installed. After a new version of one of them
    // remove the "hasInstallScript" that npm has written.
    const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
    const marked = Object.entries<{ hasInstallScript?: boolean }>(packages).filter(
      ([, { hasInstallScript }]) => hasInstallScript,
    );
    expect(marked.map(([path]) => path)).toEqual(["node_modules/bufferutil"]);
  });
});

const TEXT_TYPES = [
  "Answer",
  "AnswerDefaults",
  "AnswerEnd",
  "AnswerOptions",
  "AnswerPiece",
  "BudgetLeft",
  "BundleCache",
  "ChatMessage",
  "ChatSessionOptions",
  "Checkpoint",
  "ConnectOptions",
  "ErrorCode",
  "ErrorKind",
  "FileCache",
  "FileTree",
  "GeneratedToken",
  "KeptKeyName",
  "KeyCache",
  "Logprobs",
  "PrepareProgress",
  "PrivateModel",
  "Prompt",
  "SamplingOptions",
  "TemplateVariables",
  "TextGenerateOptions",
  "TokenLogprob",
  "Traffic",
  "WeightFormat",
];
const TEXT_VALUES = ["ChatSession", "TacetError", "TextClient", "connect"];

const EXPORTS: Record<string, Exported> = {
  ".": { values: TEXT_VALUES, types: TEXT_TYPES },
  "./web": {
    values: [...TEXT_VALUES, "loadWebFolder", "webBundleCache", "webKeyCache", "webPlatform"].sort(),
    types: [
      ...TEXT_TYPES,
      "Device",
      "Platform",
      "SocketOptions",
      "WebFile",
      "WebFolder",
      "WebPlatformOptions",
    ].sort(),
  },
  "./client": {
    values: ["TacetError", "TextClient", "openPrivateModel", "openPrivateModels"],
    types: [
      "AdapterOptions",
      "BaseModelOptions",
      "BudgetLeft",
      "Bundle",
      "BundleCache",
      "BundleManifest",
      "Checkpoint",
      "EncryptedWeights",
      "EncryptionPlatform",
      "EncryptionStatus",
      "ErrorCode",
      "ErrorKind",
      "FetchedKey",
      "FileCache",
      "FileCheck",
      "FileCheckOptions",
      "FileTree",
      "FileWriter",
      "KeptKeyName",
      "KeyCache",
      "KeyHolder",
      "KeyLeft",
      "KeySource",
      "LineEstimate",
      "LocalModel",
      "MessageSocket",
      "OnnxModel",
      "Platform",
      "PrepareProgress",
      "PrivacyTimings",
      "PrivateModel",
      "PrivateModelOptions",
      "Prompt",
      "QueryReply",
      "QueryTransport",
      "RemoteAdapter",
      "RemoteProvider",
      "RemoteProviderOptions",
      "SessionOptions",
      "SharedModels",
      "SharedModelsOptions",
      "TensorRuntime",
      "Thread",
      "Traffic",
      "WeightFormat",
      "WelcomeInfo",
    ],
  },
  "./provider": {
    values: [
      "DEFAULT_LIMITS",
      "EmbeddedStore",
      "Provider",
      "RedisStore",
      "TacetError",
      "UsageLedger",
      "createApiKey",
      "hashApiKey",
      "loadServedAdapter",
    ],
    types: [
      "AskedCounts",
      "Bundle",
      "ClientName",
      "ComputedReply",
      "EmbeddedStoreOptions",
      "ErrorCode",
      "ErrorKind",
      "FileTree",
      "Grant",
      "GroupKey",
      "GroupKeyName",
      "GroupMark",
      "Journal",
      "KeyPart",
      "KeyPartTask",
      "KeyPlace",
      "KeyRecord",
      "KeyRefusal",
      "KeyUse",
      "Limits",
      "Mark",
      "MessageSocket",
      "NewKey",
      "ProviderEvent",
      "ProviderOptions",
      "ProviderStore",
      "ProviderTotals",
      "PublicKeyEd25519",
      "RandomSource",
      "RedisArgument",
      "RedisLink",
      "RedisStoreOptions",
      "Remaining",
      "ReplyPart",
      "ReplyPool",
      "Reservation",
      "Reserved",
      "ServedAdapter",
      "Sha256",
      "ShareAccount",
      "ShareGroup",
      "SignEd25519",
      "Usage",
      "UsageOptions",
      "WaitingBytes",
      "WaitingEnd",
      "WaitingLimits",
      "WaitingShare",
    ],
  },
  "./openai": {
    values: ["ContextPool", "Endpoint", "FairSemaphore", "ServedModel"],
    types: [
      "AccessOptions",
      "Answer",
      "AnswerEnd",
      "AnswerPiece",
      "Answering",
      "CausalLm",
      "Checkpoint",
      "DraftLimits",
      "DraftOptions",
      "EndpointOptions",
      "GenerationRequest",
      "RequestEntry",
      "RequestPrompt",
      "ServedModelOptions",
    ],
  },
  "./model": {
    values: [
      "AnswerText",
      "CachedContext",
      "CausalLm",
      "ChatSession",
      "KvCache",
      "LocalLora",
      "StreamingDetokenizer",
      "baseIdentity",
      "fingerprintCheckpoint",
      "fitAdapter",
      "generate",
      "groupAdaptedModules",
      "hasChatTemplate",
      "inputGroupsOf",
      "loadChatTemplate",
      "loadTokenizer",
      "openCheckpoint",
      "openLoraAdapter",
      "readAdapterText",
      "readGenerationDefaults",
      "renderChat",
      "streamAnswer",
      "vectorsFingerprint",
      "vocabSizeOf",
      "withAdapterText",
    ],
    types: [
      "AdaptedGroup",
      "AdaptedModule",
      "AdapterParts",
      "AdapterText",
      "AddedControlToken",
      "Answer",
      "AnswerDefaults",
      "AnswerEnd",
      "AnswerOptions",
      "AnswerPiece",
      "BaseChanges",
      "BaseIdentity",
      "BaseOptions",
      "BlockForm",
      "BlockSize",
      "CacheShape",
      "CachedGenerateEnd",
      "CachedGenerateOptions",
      "ChangedTensor",
      "ChatMessage",
      "ChatSessionOptions",
      "ChatTemplate",
      "ChatText",
      "Checkpoint",
      "DecoderConfig",
      "DeltaSource",
      "DeltaUse",
      "DraftCounts",
      "DraftOptions",
      "Dtype",
      "EncodeOptions",
      "FileCache",
      "FileCheck",
      "FileCheckOptions",
      "FileTree",
      "FileWriter",
      "FittedAdapter",
      "ForwardOptions",
      "ForwardTimings",
      "GenerateEnd",
      "GenerateOptions",
      "GeneratedToken",
      "GenerationDefaults",
      "GroupInput",
      "JsonRecord",
      "KeysAndValues",
      "LayerCache",
      "Line",
      "LoadOptions",
      "LocalAdapter",
      "Logprobs",
      "LoraAdapter",
      "LoraModule",
      "LowRankSource",
      "ModelInParts",
      "ModelStage",
      "OnnxModel",
      "PenaltyOptions",
      "PendingDelta",
      "PrepareProgress",
      "QuantizedBits",
      "QuantizedBlocks",
      "ReadAdapterText",
      "RenderOptions",
      "RoundedMatrix",
      "RoundedProduct",
      "RoundedShape",
      "RoundedWeights",
      "RoutesTaken",
      "SampleOptions",
      "SamplingOptions",
      "SessionOptions",
      "States",
      "StoredTensor",
      "TableLookup",
      "TemplateVariables",
      "Tensor",
      "TensorData",
      "TensorInfo",
      "TensorRuntime",
      "TensorSession",
      "TokenLogprob",
      "TokenRows",
      "Tokenizer",
      "WeightFormat",
    ],
  },
  "./bundle": {
    values: [
      "BUNDLE_FILE",
      "PART_NAMES",
      "PRIVATE_FILE",
      "SIGNATURE_FILE",
      "createBundle",
      "createSigningKey",
      "decodeBundle",
      "decodeSignature",
      "encodeSignature",
      "isKeySignedBy",
      "isSignedBy",
      "keyPartDigest",
      "publicKeyOf",
      "readPrivateState",
      "signBundle",
      "signKey",
      "systemRandom",
    ],
    types: [
      "BaseChanges",
      "Bundle",
      "BundleGroup",
      "BundleManifest",
      "BundleModule",
      "BundleSignature",
      "BundleTensors",
      "ChangedTensor",
      "CreateBundleInput",
      "CreatedBundle",
      "FileTree",
      "GroupSpec",
      "KeyIdentity",
      "LoraPair",
      "ManifestChanges",
      "ModuleVector",
      "Parameters",
      "PartName",
      "PrivateGroup",
      "PrivateState",
      "PublicKeyEd25519",
      "RandomSource",
      "Sha256",
      "SigningTools",
      "TokenRows",
    ],
  },
  "./pll": {
    values: [
      "BufferPool",
      "ClientLayer",
      "DEFAULT_PARAMETERS",
      "Kernels",
      "MaskSource",
      "ProviderLayer",
      "PublicBasis",
      "PublicElements",
      "encryptedWeightBytes",
      "keySeed",
      "mergeLora",
      "quantizeRows",
      "splitLora",
      "systemRandom",
    ],
    types: [
      "Address",
      "ClientKey",
      "ClientLayerInput",
      "EncryptedWeights",
      "ForeignQuery",
      "GroupMark",
      "InnerProducts",
      "KernelBuild",
      "KeySeedInput",
      "LayerSecret",
      "LoraPair",
      "OneTimeMasks",
      "OpenQuery",
      "Parameters",
      "ParametersLiteral",
      "ProviderLayerInput",
      "PublicElement",
      "QuantizedRows",
      "RandomSource",
      "SplitLora",
      "StridedRows",
      "WeightEncryption",
    ],
  },
  "./rlwe": {
    values: [
      "BufferPool",
      "DEFAULT_PARAMETERS",
      "MaskSource",
      "PublicElements",
      "SECURITY_TABLE",
      "answeredEntropy",
      "createParameters",
      "estimateLwe",
      "functionQueries",
      "publicElementBytes",
      "securityOf",
    ],
    types: [
      "Address",
      "Instances",
      "Kernels",
      "LweEstimate",
      "LweInstance",
      "OneTimeMasks",
      "ParameterSecurity",
      "Parameters",
      "ParametersLiteral",
      "ProductTerm",
      "PublicElement",
      "RandomSource",
      "SecurityTableRow",
      "SmallBytes",
      "Spectrum",
    ],
  },
  "./platform/node": {
    values: [
      "changeKeys",
      "connectRedis",
      "downloadFromHub",
      "nodeAfterEvents",
      "nodeBundleCache",
      "nodeFileCache",
      "nodeFileTree",
      "nodeKeyCache",
      "nodePlatform",
      "nodePublicKeyEd25519",
      "nodeSha256",
      "nodeSignEd25519",
      "openDataFolder",
      "parseHubId",
      "readKeys",
      "readUsage",
      "serveSockets",
      "writeStateFolder",
    ],
    types: [
      "DataFolderEvents",
      "Device",
      "DownloadOptions",
      "EmbeddedStore",
      "EmbeddedStoreOptions",
      "FileCache",
      "FileTree",
      "FolderKind",
      "HubId",
      "HubSettings",
      "KeptKeyName",
      "KeyRecord",
      "MessageSocket",
      "NodePlatformOptions",
      "OpenedData",
      "Platform",
      "RedisLink",
      "RedisLinkOptions",
      "Rejection",
      "RepoKind",
      "RetryOptions",
      "ServeOptions",
      "SocketServer",
      "TlsFiles",
      "UsageLedger",
    ],
  },
};
