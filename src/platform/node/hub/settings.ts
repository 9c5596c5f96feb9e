/** Where the hub and its cache are, by the variables that huggingface_hub in Python reads. */

import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { TacetError } from "../../../base/errors.ts";

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly cacheDir: string;
  readonly offline: boolean;
  /** A bearer token; never put into messages. */
  readonly token: string | undefined;
}

/** @throws TacetError bad_argument for an HF_ENDPOINT that is no web address */
export async function readHubSettings(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<HubSettings> {
  const home =
    present(env.HF_HOME) ?? join(present(env.XDG_CACHE_HOME) ?? join(homedir(), ".cache"), "huggingface");
  const endpoint = (present(env.HF_ENDPOINT) ?? "https://huggingface.co").replace(/\/+$/, "");
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.search !== "") {
    throw new TacetError("bad_argument", "HF_ENDPOINT is not the address of a hub", {
      hint: "it looks like https://huggingface.co",
    });
  }
  const tokenFile = present(env.HF_TOKEN_PATH) ?? join(home, "token");
  const token = present(env.HF_TOKEN) ?? present(await readFile(tokenFile, "utf8").catch(() => ""));
  return {
    endpoint,
    cacheDir: present(env.HF_HUB_CACHE) ?? present(env.HUGGINGFACE_HUB_CACHE) ?? join(home, "hub"),
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ""),
    // A header cannot hold anything else.
    token: token !== undefined && /^[\x21-\x7e]+$/.test(token) ? token : undefined,
  };
}

function present(text: string | undefined): string | undefined {
  const trimmed = text?.trim();
  return trimmed === undefined || trimmed === "" ? undefined : trimmed;
}

/** Whether a token may travel to this address: encrypted, or within this machine. */
export function mayCarryToken(url: URL): boolean {
  return url.protocol === "https:" || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
}
