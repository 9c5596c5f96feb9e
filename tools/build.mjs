// Builds everything that is generated: kernels (wasm), wire messages (protobuf), JavaScript (dist/), the command line in
// few files.
// Each step is skipped when its output is newer than its inputs, so that `npm run demo` starts at once.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const quiet = process.argv.includes("--quiet");
// npm runs `prepare` after every install; one without the tools (--omit=dev) has nothing to build with.
if (process.env.npm_lifecycle_event === "prepare" && !existsSync(join(root, "node_modules/typescript"))) {
  process.exit(0);
}
// A package has nothing of files that are no more.
if (process.argv.includes("--anew")) rmSync(join(root, "dist"), { recursive: true, force: true });
const steps = [
  {
    name: "kernels",
    inputs: ["kernels", "tools/build-kernels.mjs"],
    // The last one that it writes.
    output: "src/products/generated/product-kernels.ts",
    run: () => node("tools/build-kernels.mjs"),
  },
  {
    name: "wire messages",
    inputs: ["proto", "buf.gen.yaml", "buf.yaml"],
    output: "src/wire/generated/tacet/v1/wire_pb.ts",
    run: () => node("node_modules/@bufbuild/buf/bin/buf", "generate"),
  },
  {
    name: "javascript",
    inputs: [
      "src",
      "tsconfig.base.json",
      "tsconfig.universal.json",
      "tsconfig.node.json",
      "tsconfig.browser.json",
    ],
    output: "dist/browser.tsbuildinfo",
    run: () => node("node_modules/typescript/bin/tsc", "-b", "tsconfig.node.json", "tsconfig.browser.json"),
  },
  {
    name: "command line",
    inputs: ["src", "tools/bundle-cli.mjs", "tools/licenses.mjs", "package-lock.json"],
    output: "dist/.command-line",
    run: () => node("tools/bundle-cli.mjs"),
  },
];
// The demo and the tests of npm test do not need it, and start sooner without.
if (!quiet || process.argv.includes("--app")) {
  steps.push({
    name: "browser app",
    inputs: ["app", "src", "tools/licenses.mjs", "package-lock.json"],
    output: "dist/app/index.html",
    run: () => node("node_modules/vite/bin/vite.js", "build", "--config", "app/vite.config.ts"),
  });
}

for (const step of steps) {
  if (newest(step.inputs) <= oldest(step.output)) continue;
  const start = Date.now();
  step.run();
  if (!quiet) console.log(`built ${step.name} in ${((Date.now() - start) / 1000).toFixed(1)} s`);
}

function node(...args) {
  try {
    execFileSync(process.execPath, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  } catch {
    console.error(`error: the build step 'node ${args.join(" ")}' failed; its messages are above`);
    process.exit(1);
  }
}

/** Latest modification time (ms) of any file under the paths. */
function newest(paths) {
  let latest = 0;
  for (const path of paths) {
    const full = join(root, path);
    if (!existsSync(full)) continue;
    const stat = statSync(full);
    if (stat.isDirectory()) latest = Math.max(latest, newest(readdirSync(full).map((f) => join(path, f))));
    else latest = Math.max(latest, stat.mtimeMs);
  }
  return latest;
}

function oldest(path) {
  const full = join(root, path);
  return existsSync(full) ? statSync(full).mtimeMs : 0;
}
