/** The files of deploy/: that they parse, fit each other and fit the program. No image is built and no cluster asked. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { parseConfig } from "../src/cli/provider/config-file.ts";
import { temporaryFolder } from "./support/models.ts";
import { checkNginx, NO_NGINX, nginxConfig } from "./support/nginx.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const DEPLOY = join(ROOT, "deploy");
const read = (name: string) => readFileSync(join(DEPLOY, name), "utf8");
const NO_OPENSSL =
  spawnSync("openssl", ["version"]).status === 0 ? false : " (skipped: openssl is not installed)";

// biome-ignore lint/suspicious/noExplicitAny: manifests, whose fields the tests name
type Manifest = any;
const MANIFESTS: Manifest[] = readdirSync(join(DEPLOY, "kubernetes")).flatMap((name) =>
  parseAllDocuments(read(`kubernetes/${name}`), { strict: true, uniqueKeys: true }).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS();
  }),
);
const find = (kind: string, name = "tacet-provider"): Manifest =>
  MANIFESTS.find((each) => each.kind === kind && each.metadata.name === name) ??
  expect.fail(`no ${kind} ${name}`);

describe("Kubernetes", () => {
  it("has one of each, named and of a version", () => {
    const names = MANIFESTS.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const { apiVersion } of MANIFESTS) expect(apiVersion).toMatch(/^([\w.]+\/)?v\d$/);
  });

  it("gives providers the configuration of deploy/provider.json, and probes on its ports", () => {
    const config = parseConfig(read("provider.json"), "/etc/tacet/provider.json");
    expect(JSON.parse(find("ConfigMap").data["provider.json"])).toEqual(JSON.parse(read("provider.json")));
    const { spec } = find("Deployment").spec.template;
    const [container] = spec.containers;
    const ports = Object.fromEntries(
      container.ports.map((port: { name: string; containerPort: number }) => [port.name, port.containerPort]),
    );
    expect(ports).toEqual({ clients: config.port, status: config.metricsPort });
    for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
      expect(container[probe].httpGet.port).toBe("status");
      expect(container[probe].httpGet.path).toMatch(/^\/(readyz|healthz)$/);
    }
    expect(spec.terminationGracePeriodSeconds).toBeGreaterThan(5 + 20 + 2);
    const mounts = container.volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath);
    expect(config.state?.every((dir) => mounts.some((mount: string) => dir.startsWith(mount)))).toBe(true);
  });

  it("selects the pods that there are, and names only what is there", () => {
    const labels = find("Deployment").spec.template.metadata.labels;
    expect(find("Deployment").spec.selector.matchLabels).toEqual(labels);
    expect(find("Service").spec.selector).toEqual(labels);
    expect(find("PodDisruptionBudget").spec.selector.matchLabels).toEqual(labels);
    expect(find("NetworkPolicy").spec.podSelector.matchLabels).toEqual(labels);
    expect(find("HorizontalPodAutoscaler").spec.scaleTargetRef.name).toBe(find("Deployment").metadata.name);
    const redis = find("StatefulSet", "tacet-redis").spec;
    expect(redis.template.metadata.labels).toEqual(redis.selector.matchLabels);
    expect(find("Service", "tacet-redis").spec.selector).toEqual(redis.selector.matchLabels);
    const secret = find("Secret", "tacet-redis").stringData;
    for (const { containers } of [find("Deployment"), find("StatefulSet", "tacet-redis")].map(
      (each) => each.spec.template.spec,
    )) {
      for (const { env, securityContext } of containers) {
        for (const { valueFrom } of env) expect(secret).toHaveProperty(valueFrom.secretKeyRef.key);
        expect(securityContext).toMatchObject({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
        });
      }
    }
  });
});

describe("compose", () => {
  const compose = parse(read("docker-compose.yml"), { merge: true, uniqueKeys: true }) as Manifest;

  it("starts the providers that nginx.conf names", () => {
    const providers = Object.keys(compose.services).filter((name) => name.startsWith("provider"));
    const named = [...read("nginx.conf").matchAll(/server (provider-\d):8787/g)].map(([, name]) => name);
    expect(named).toEqual(providers);
    expect(compose.services["provider-1"].environment.TACET_REDIS_URL).toBe("redis://redis:6379");
    expect(JSON.stringify(compose.services.redis.command)).toMatch(/appendonly yes .*noeviction/);
  });

  it("mounts and builds what is there", () => {
    for (const file of ["provider.json", "nginx.conf", "Dockerfile"])
      expect(existsSync(join(DEPLOY, file))).toBe(true);
    const { build } = compose.services["provider-1"];
    expect(existsSync(join(DEPLOY, build.context, build.dockerfile))).toBe(true);
  });
});

describe("Dockerfile", () => {
  const stages = read("Dockerfile")
    .split(/^FROM /m)
    .slice(1);

  it("ends in a stage without development packages, not as root, with a health check", () => {
    const last = stages.at(-1)!;
    expect(last).toMatch(/^USER (?!root)\w+$/m);
    expect(last).toMatch(/^HEALTHCHECK /m);
    expect(last).not.toMatch(/^RUN /m);
    expect(stages[1]).toMatch(/npm ci --omit=dev/);
    for (const [, source] of last.matchAll(/^COPY (?!--from)(.*) \S+$/gm)) {
      for (const name of source.split(" ")) expect(existsSync(join(ROOT, name))).toBe(true);
    }
  });

  it("runs what it names, on the ports that provider.json has", () => {
    const { port, metricsPort } = parseConfig(read("provider.json"), "/etc/tacet/provider.json");
    expect(read("Dockerfile")).toContain(`EXPOSE ${port} ${metricsPort}`);
    expect(read("Dockerfile")).toContain(`http://127.0.0.1:${metricsPort}/healthz`);
    expect(existsSync(join(ROOT, "dist/cli/main.js"))).toBe(true);
  });
});

describe("nginx.conf", () => {
  it.skipIf(NO_NGINX)(`passes nginx -t${NO_NGINX || ""}`, () => {
    const { status, text } = checkNginx(nginxConfig("FOLDER", 8080, [8787, 8788]));
    expect({ status, text }).toEqual({ status: 0, text: expect.stringContaining("test is successful") });
    expect(text).not.toContain("[warn]");
  });

  it.skipIf(NO_NGINX || NO_OPENSSL)(`and with TLS${NO_NGINX || NO_OPENSSL || ""}`, () => {
    const folder = temporaryFolder();
    const [key, cert] = ["key.pem", "fullchain.pem"].map((name) => join(folder.path, name));
    const made = spawnSync("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
      ...["-subj", "/CN=localhost", "-keyout", key, "-out", cert],
    ]);
    expect(made.status).toBe(0);
    const config = nginxConfig("FOLDER", 8080, [8787, 8788])
      .replace(/^ *listen 127.*$/m, "")
      .replace(/^( *)# (?=listen|ssl_)/gm, "$1")
      .replaceAll("/etc/nginx/tls", folder.path);
    expect(config).toMatch(/^ *listen 8443 ssl;$/m);
    const { status, text } = checkNginx(config);
    folder.remove();
    expect({ status, text }).toEqual({ status: 0, text: expect.stringContaining("test is successful") });
  });
});
