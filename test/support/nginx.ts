/** A real nginx with the configuration that is shipped, deploy/nginx.conf, on a free port, as the current user. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.ts";

const SHIPPED = fileURLToPath(new URL("../../deploy/nginx.conf", import.meta.url));
const START_MS = 20_000;
const PATH = `${process.env.PATH}:/usr/sbin`;
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** false, or why tests with nginx are skipped: goes into their names. */
export const NO_NGINX: false | string =
  spawnSync("nginx", ["-v"], { env: { ...process.env, PATH } }).status === 0
    ? false
    : " (skipped: nginx is not installed)";

if (NO_NGINX) console.warn("tests with nginx are skipped: nginx is not installed");

/** Puts what a test needs instead of what a container has; each must be there. */
export function nginxConfig(folder: string, port: number, providers: readonly number[]): string {
  const servers = [...readFileSync(SHIPPED, "utf8").matchAll(/server provider-\d:8787/g)].map(
    ([text]) => text,
  );
  if (servers.length !== providers.length)
    throw new Error(`${servers.length} providers in deploy/nginx.conf`);
  let text = readFileSync(SHIPPED, "utf8");
  const put = (from: string, to: string) => {
    if (!text.includes(from)) throw new Error(`deploy/nginx.conf has no ${from}`);
    text = text.replaceAll(from, to);
  };
  for (const [i, server] of servers.entries()) put(server, `server 127.0.0.1:${providers[i]}`);
  put("listen 8080", `listen 127.0.0.1:${port}`);
  put(" /tmp/", ` ${folder}/`);
  put("worker_processes auto", "worker_processes 1");
  put("worker_connections 16384", "worker_connections 512");
  return text;
}

/** What `nginx -t` says of a configuration. */
export function checkNginx(config: string): { status: number | null; text: string } {
  const folder = mkdtempSync(join(tmpdir(), "tacet-nginx-"));
  const path = join(folder, "nginx.conf");
  writeFileSync(path, config.replaceAll("FOLDER", folder));
  const run = spawnSync("nginx", ["-t", "-e", "stderr", "-c", path], { env: { ...process.env, PATH } });
  rmSync(folder, { recursive: true });
  return { status: run.status, text: String(run.stderr) };
}

export async function startNginx(
  providers: readonly number[],
): Promise<{ url: string; stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), "tacet-nginx-"));
  const port = await freePort();
  const path = join(folder, "nginx.conf");
  writeFileSync(path, nginxConfig(folder, port, providers));
  const child = spawn("nginx", ["-e", "stderr", "-c", path, "-g", "daemon off;"], {
    env: { ...process.env, PATH },
    stdio: ["ignore", "ignore", "pipe"],
  });
  running.add(child);
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.once("exit", () => running.delete(child));
  for (const start = Date.now(); !(await accepts(port)); ) {
    if (child.exitCode !== null || Date.now() - start > START_MS)
      throw new Error(`nginx did not start: ${log}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    url: `ws://127.0.0.1:${port}`,
    async stop() {
      child.kill("SIGTERM"); // its workers end with it
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
