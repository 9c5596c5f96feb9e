import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

/** The kernel and private-layer tests again, in a real Chromium (CHROMIUM_PATH, or Debian's). */
export default defineConfig({
  test: {
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
            "--disable-gpu",
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
});
