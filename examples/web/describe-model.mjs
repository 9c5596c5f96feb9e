// Copies a base model into public/model and lists its files in public/model.json, for loadWebFolder and connect.
// node describe-model.mjs FOLDER
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [from] = process.argv.slice(2);
if (from === undefined) throw new Error("node describe-model.mjs FOLDER");
mkdirSync("public/model", { recursive: true });
const files = readdirSync(from)
  .filter((name) => /\.(json|jinja|safetensors|model)$/.test(name))
  .map((path) => {
    cpSync(join(from, path), join("public/model", path));
    return { path, size: statSync(join(from, path)).size, changed: statSync(join(from, path)).mtimeMs };
  });
// Browsers keep the files under this name until it changes.
const version = createHash("sha256").update(JSON.stringify(files)).digest("hex").slice(0, 16);
const list = files.map(({ path, size }) => ({ path, size }));
writeFileSync("public/model.json", JSON.stringify({ url: "/model/", files: list, version }));
