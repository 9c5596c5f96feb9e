// The package as a stranger gets it: packed, installed into an empty folder without install scripts, compiled against
// under both module resolutions, run, and built into a page that Chromium opens. `node tools/check-package.mjs`
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { forgottenTypes } from "./forgotten-types.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const expected = JSON.parse(readFileSync(join(root, "models/lexicon/expected.json"), "utf8")).entries;
const answerTo = (word) => expected.find((entry) => entry.word === word).adapter.text;
const folder = mkdtempSync(join(tmpdir(), "tacet-package-"));
const children = new Set();
let tarball = "";
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const consumer = join(folder, "consumer");
const installed = join(consumer, "node_modules/tacet");
const bin = (name) => join(root, "node_modules/.bin", name);
/** As a user has it: nothing of this machine's settings or caches but npm's. */
const env = {
  ...process.env,
  HOME: folder,
  XDG_CACHE_HOME: join(folder, "cache"),
  npm_config_cache: execFileSync("npm", ["config", "get", "cache"], { cwd: root, encoding: "utf8" }).trim(),
};
const chromiumOptions = {
  executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
};
/** What must not compile. */
const WRONG = `import { ChatSession, connect } from "tacet";
// @ts-expect-error one signature: the platform is not an argument
await connect({}, { base: "./model", provider: "ws://127.0.0.1:8787" });
// @ts-expect-error a provider is required
const law = await connect({ base: "./model" });
// @ts-expect-error sampling.temperature
law.generate("x", { temperature: 1 });
const text: string = await law.generate("x").text();
const isChat: boolean = (await law.chat()) instanceof ChatSession;
console.log(text, isChat);
`;

await step("npm pack", () => {
  const [{ filename, files }] = JSON.parse(
    run("npm", ["pack", "--json", "--pack-destination", folder], root),
  );
  const paths = files.map(({ path }) => path);
  const stray = paths.filter((path) => /\.map$|tsbuildinfo|\.test\.|^dist\/\./.test(path));
  if (stray.length > 0) throw new Error(`does not belong into the package: ${stray.slice(0, 5).join(", ")}`);
  for (const wanted of [
    "dist/cli/main.js",
    "dist/cli/licenses.md",
    "dist/entry/web.d.ts",
    "dist/app/index.html",
    "dist/app/licenses.md",
    "LICENSE",
    "README.md",
  ]) {
    if (!paths.includes(wanted)) throw new Error(`${wanted} is not in the package`);
  }
  // What is loaded by workers alone, and what has no file of its license.
  const app = readFileSync(join(root, "dist/app/licenses.md"), "utf8");
  for (const name of ["@bufbuild/protobuf", "@noble/curves", "onnxruntime-web", "protobufjs"]) {
    if (!app.includes(`## ${name} `)) throw new Error(`the license of ${name} is not in dist/app`);
  }
  tarball = join(folder, filename);
});

await step("publint", () => run(bin("publint"), [tarball, "--strict"], root));
await step("are the types wrong?", () => run(bin("attw"), [tarball, "--profile", "esm-only"], root));

await step("npm install --ignore-scripts", () => {
  mkdirSync(consumer);
  writeFileSync(
    join(consumer, "package.json"),
    JSON.stringify({ name: "consumer", type: "module", private: true }),
  );
  const others = ["onnxruntime-web", "@types/node"].map(
    (name) => `${name}@${manifest.devDependencies[name]}`,
  );
  // npm ci has put the same versions into npm's cache.
  run(
    "npm",
    ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", tarball, ...others],
    consumer,
  );
});

await step("every type of a signature can be imported", () => {
  const forgotten = forgottenTypes(join(installed, "dist"));
  if (forgotten.length > 0) throw new Error(`no entry exports ${forgotten.join("; ")}`);
});

await step("the README's snippets, the documents' and the examples, in strict TypeScript", () => {
  const snippets = [];
  for (const document of ["README.md", "docs/library.md"]) {
    const text = readFileSync(join(root, document), "utf8");
    for (const [, language, code] of text.matchAll(/^```(ts|js)\n([\s\S]*?)^```$/gm)) {
      // A module each, so that names do not meet.
      snippets.push({ name: `snippet-${snippets.length}.${language}`, code: `${code}\nexport {};\n` });
    }
  }
  if (!snippets.some(({ code }) => code.includes('from "tacet"'))) throw new Error("no snippet was found");
  for (const { name, code } of snippets) writeFileSync(join(consumer, name), code);
  for (const entry of Object.keys(manifest.exports)) {
    if (entry.endsWith(".json")) continue;
    const name = entry === "." ? "tacet" : `tacet/${entry.slice(2)}`;
    writeFileSync(join(consumer, `entry-${entry.replaceAll(/\W/g, "")}.ts`), `export * from "${name}";\n`);
  }
  for (const name of readdirSync(join(installed, "examples"))) {
    if (extname(name) === ".mjs") cpSync(join(installed, "examples", name), join(consumer, name));
  }
  writeFileSync(join(consumer, "wrong.ts"), WRONG);
  // As "vite/client" has it.
  writeFileSync(
    join(consumer, "vite.d.ts"),
    'declare module "*?url" { const url: string; export default url; }\n',
  );
  for (const [module, moduleResolution] of [
    ["esnext", "bundler"],
    ["nodenext", "nodenext"],
  ]) {
    const options = {
      target: "es2022",
      lib: ["es2023", "dom", "dom.iterable"],
      module,
      moduleResolution,
      strict: true,
      allowJs: true,
      checkJs: true,
      noEmit: true,
      types: ["node"],
      skipLibCheck: false,
    };
    const config = { compilerOptions: options, include: ["*.ts", "*.js", "*.mjs"] };
    writeFileSync(join(consumer, "tsconfig.json"), JSON.stringify(config));
    run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "."], consumer);
  }
});

await step("npx tacet demo", () => {
  const out = run("npx", ["--no-install", "tacet", "demo", "--word", "tender"], consumer);
  if (!out.includes(answerTo("tender").slice(0, 20))) throw new Error(`the demo printed:\n${out}`);
});

let provider;
await step("a provider that meters, in a program", async () => {
  const args = [join(installed, "examples/provider.mjs"), join(folder, "state"), join(folder, "data"), "0"];
  provider = spawn(process.execPath, args, { cwd: consumer, env, stdio: ["ignore", "pipe", "inherit"] });
  children.add(provider);
  const out = await output(provider, /^key tacet_\w+$/m);
  const url = /listening on (\S+)/.exec(out)[1];
  const key = /^key (\S+)$/m.exec(out)[1];
  // The README's snippet asks at the usual port, without a key.
  const code = `import { connect } from "tacet";
    const open = (token) => connect({ base: "node_modules/tacet/models/lexicon/base", provider: "${url}", token });
    const law = await open("${key}");
    const { budget } = law;
    console.log(await law.generate("tender").text());
    console.log(JSON.stringify({ before: budget.left, after: law.budget.left }));
    await law.generate("tender ".repeat(40)).end.catch(() => {});
    for (let i = 0; i < 9; i++) await law.generate("battery").end.catch(({ code }) => console.log(code));
    await law.close();
    await open("tacet_wrong").catch(({ code }) => console.log(code));`;
  writeFileSync(join(consumer, "ask.mjs"), code);
  const [text, budget, ...codes] = run(process.execPath, ["ask.mjs"], consumer).trim().split("\n");
  const { before, after } = JSON.parse(budget);
  const problem =
    text !== answerTo("tender") ||
    after >= before ||
    codes[0] !== "budget_exhausted" ||
    codes.at(-1) !== "unauthorized";
  if (problem) throw new Error(`the client printed: ${text} ${budget} ${codes.join()}`);
  provider.kill("SIGTERM");
  const total = await output(provider, /charged$/m, out);
  if (!/[1-9]\d* queries, [1-9]\d* activation vectors charged/.test(total)) throw new Error(total);
});

let url;
await step("the README's commands and the examples", async () => {
  const state = join(folder, "law-state");
  const models = join(installed, "models/lexicon");
  const adapter = ["--base", join(models, "base"), "--adapter", join(models, "law-adapter")];
  run("npx", ["--no-install", "tacet", "bundle", ...adapter, "--out", state, "--name", "law"], consumer);
  const args = [join(installed, manifest.bin.tacet), "provider", "--state", state, "--port", "0"];
  provider = spawn(process.execPath, args, { cwd: consumer, env, stdio: ["ignore", "pipe", "ignore"] });
  children.add(provider);
  url = /listening on (\S+)/.exec(await output(provider, /listening on \S+\n/))[1];
  for (const name of ["library.mjs", "abort.mjs"]) {
    const out = run(process.execPath, [join(installed, "examples", name), url], consumer);
    if (!out.includes(answerTo("tender").slice(0, 10))) throw new Error(`${name} printed:\n${out}`);
  }
  const [, snippet] = /^```ts\n([\s\S]*?)^```$/m.exec(readFileSync(join(root, "README.md"), "utf8"));
  const here = snippet
    .replace("ws://127.0.0.1:8787", url)
    .replace("models/lexicon/base", "node_modules/tacet/models/lexicon/base");
  writeFileSync(join(consumer, "readme.mjs"), here);
  const out = run(process.execPath, ["readme.mjs"], consumer);
  if (out.trim() !== answerTo("tender")) throw new Error(`the README's snippet printed: ${out}`);
});

await step("a page with tacet/web, built by Vite, in Chromium", async () => {
  const page = join(consumer, "page");
  cpSync(join(installed, "examples/web"), page, { recursive: true });
  run(process.execPath, ["describe-model.mjs", join(installed, "models/lexicon/base")], page);
  writeFileSync(join(page, "public/settings.json"), JSON.stringify({ provider: url }));
  writeFileSync(
    join(page, "vite.config.js"),
    'export default { worker: { format: "es" }, logLevel: "warn" };',
  );
  run(process.execPath, [join(root, "node_modules/vite/bin/vite.js"), "build", "--logLevel", "warn"], page);
  const server = createServer((request, response) => serveFile(join(page, "dist"), request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { chromium } = await import("playwright");
  const browser = await chromium.launch(chromiumOptions);
  try {
    const tab = await browser.newPage();
    tab.on("pageerror", (error) => console.error(error.message));
    await tab.goto(`http://127.0.0.1:${server.address().port}/`);
    await tab.getByRole("button", { name: "Ask" }).click();
    await tab.locator("output[data-end]").waitFor({ timeout: 60_000 });
    const text = await tab.locator("output").textContent();
    if (text !== answerTo("tender")) throw new Error(`the page shows: ${text}`);
  } finally {
    await browser.close();
    server.close();
    server.closeAllConnections();
  }
});
process.exit(0);

async function step(name, work) {
  const start = Date.now();
  try {
    await work();
  } catch (error) {
    console.error(`package: FAILED: ${name}\n${error instanceof Error ? error.message : error}`);
    process.exit(1);
  }
  console.log(`package: ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
}

/** What the command prints. */
function run(command, args, cwd) {
  try {
    return execFileSync(command, args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    throw new Error(`${command} ${args.join(" ")}\n${error.stdout ?? ""}${error.stderr ?? error.message}`);
  }
}

/** What a process prints, from the beginning, once it has printed this. */
function output(child, wanted, before = "") {
  let out = before;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${wanted} within 30 s, only: ${out}`)), 30_000);
    const done = () => {
      if (!wanted.test(out)) return;
      clearTimeout(timer);
      resolve(out);
    };
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
      done();
    });
    child.once("close", () => reject(new Error(`the process ended: ${out}`)));
  });
}

function serveFile(dir, request, response) {
  const path = new URL(request.url, "http://localhost").pathname;
  const file = join(dir, path === "/" ? "index.html" : path);
  if (!file.startsWith(dir) || !existsSync(file)) return response.writeHead(404).end();
  const types = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
  };
  response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" });
  return response.end(readFileSync(file));
}
