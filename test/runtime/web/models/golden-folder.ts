/** Golden models of the repository, as a page is given them: by URL. */
import type { WebFolder } from "../../../../src/platform/web.ts";

/** Of expected.json. */
interface Golden {
  readonly input_ids: readonly number[];
  readonly logits_last: readonly number[];
}

const FILES = ["config.json", "model.safetensors", "generation_config.json"];

export async function goldenFolder(name: string): Promise<WebFolder & { readonly golden: Golden }> {
  const url = new URL(`/test/fixtures/golden-hf/${name}/`, location.href).href;
  const golden = (await (await fetch(`${url}expected.json`)).json()) as Golden;
  const found = await Promise.all(
    FILES.map(async (path) => {
      const response = await fetch(url + path);
      const isThere = response.ok && !(response.headers.get("content-type") ?? "").startsWith("text/html");
      return isThere ? [{ path, size: (await response.arrayBuffer()).byteLength }] : [];
    }),
  );
  return { url, files: found.flat(), version: "1", golden };
}
