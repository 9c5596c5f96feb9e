/** Adapted places in words. */

const WORDS: Readonly<Record<string, string>> = {
  "q,k,v": "attention (q, k, v)",
  o: "attention output",
  "gate,up": "feed-forward (gate, up)",
  down: "feed-forward output",
};

interface Group {
  readonly layer: number;
  readonly modules: readonly { readonly name: string }[];
}

/** "layer 3, attention (q, k, v)"; a place without a separate word keeps the checkpoint's name. */
export function groupName({ layer, modules }: Group): string {
  const parts = modules.map(({ name }) => (name.split(".").at(-1) ?? "").replace(/_proj$/, ""));
  return `layer ${layer + 1}, ${WORDS[parts.join(",")] ?? parts.join(", ")}`;
}
