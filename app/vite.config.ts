import { fileURLToPath } from "node:url";
import { defaultClientConditions, defineConfig } from "vite";
import { licensePlugins } from "../tools/licenses.mjs";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const licenses = licensePlugins("licenses.md");

/** The browser app, built into dist/app: static files that `tacet web` serves. */
export default defineConfig({
  root: here("."),
  base: "./",
  clearScreen: false,
  logLevel: "warn",
  plugins: [licenses.writing],
  worker: { format: "es", plugins: () => [licenses.collecting] },
  // ONNX Runtime's parts come from files, of which its threads begin: not from within the worker's.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  build: {
    outDir: here("../dist/app"),
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    // A data: URL would need a hole in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    rolldownOptions: {
      input: { index: here("index.html"), "service-worker": here("service-worker.ts") },
      output: {
        entryFileNames: ({ name }) => (name === "service-worker" ? "[name].js" : "assets/[name]-[hash].js"),
      },
    },
  },
});
