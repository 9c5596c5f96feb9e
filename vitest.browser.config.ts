import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

/** What needs a real Chromium (CHROMIUM_PATH, or Debian's). */
export default defineConfig({
  test: {
    projects: [
      {
        // Threads want an isolated page.
        server: {
          headers: {
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-embedder-policy": "require-corp",
            "cross-origin-resource-policy": "same-origin",
          },
        },
        // It finds its WebAssembly beside itself.
        optimizeDeps: { exclude: ["onnxruntime-web"] },
        // The kernel and private-layer tests again, in the browser; base models on its devices.
        test: {
          name: "in the browser",
          include: ["test/runtime/web/**/*.test.ts"],
          testTimeout: 120_000,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: {
                executablePath: process.env.CHROMIUM_PATH ?? "/usr/bin/chromium",
                args: [
                  "--no-sandbox",
                  // WebGPU without a GPU.
                  "--enable-unsafe-webgpu",
                  "--use-webgpu-adapter=swiftshader",
                  "--enable-features=Vulkan",
                  "--disable-quic",
                  "--no-first-run",
                  "--disable-background-networking",
                  "--disable-component-update",
                  "--disable-sync",
                ],
              },
            }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
      {
        // The browser app, driven from outside.
        test: {
          name: "browser app",
          include: ["test/runtime/app/**/*.test.ts"],
          environment: "node",
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
