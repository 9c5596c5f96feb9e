// Joins the modules of the command line, and those packages that are JavaScript alone, into a few files: a command then
// starts in little more than half the time, most of which Node takes to find and read several hundred small ones. Writes
// dist/cli/main.js and its worker over the compiler's, and what commands load on demand beside them. The library
// (dist/entry) stays as it is compiled.
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { licensePlugins } from "./licenses.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = join(root, "dist/cli");
/** Files that several commands load, or one of them. */
const PARTS = "parts";

/** Packages with native parts, or that may be absent. */
const EXTERNAL = [
  "@redis/client",
  "bufferutil",
  "onnxruntime-common",
  "onnxruntime-node",
  "pino",
  "prom-client",
  "ws",
];

/** A module's own URL stays that of its compiled file: workers and the embedded model are found from there. */
const ownUrls = {
  name: "own-urls",
  transform(code, id) {
    if (!id.startsWith(join(root, "src/")) || !code.includes("import.meta.url")) return null;
    const compiled = join(root, "dist", relative(join(root, "src"), id)).replace(/\.ts$/, ".js");
    const url = `new URL(${JSON.stringify(relative(join(out, PARTS), compiled))}, import.meta.url).href`;
    return { code: code.replaceAll("import.meta.url", url), map: null };
  },
};

const { output } = await build({
  root,
  configFile: false,
  publicDir: false,
  logLevel: "warn",
  plugins: [ownUrls, licensePlugins("licenses.md").writing],
  build: {
    ssr: true,
    outDir: out,
    emptyOutDir: false,
    target: "node20",
    minify: false,
    rolldownOptions: {
      input: {
        main: join(root, "src/cli/main.ts"),
        "provider/reply-worker": join(root, "src/cli/provider/reply-worker.ts"),
      },
      output: { entryFileNames: "[name].js", chunkFileNames: `${PARTS}/[name].js` },
    },
  },
  ssr: { noExternal: true, external: EXTERNAL },
});

// The URLs above are those of files one folder below.
const astray = output.find(
  ({ fileName, code = "" }) => !fileName.includes("/") && code.includes("import.meta.url"),
);
if (astray)
  throw new Error(`${astray.fileName} has a module with a URL: import it where it is used (await import)`);

// Those of the last build go when all new ones are there: somebody may be running the command line.
const made = new Set(output.map(({ fileName }) => fileName));
for (const name of readdirSync(join(out, PARTS))) {
  if (!made.has(`${PARTS}/${name}`)) rmSync(join(out, PARTS, name));
}
writeFileSync(join(root, "dist/.command-line"), "");
