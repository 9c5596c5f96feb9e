/** What a bundle shows in the clear: for people who publish one, and for those who look at one. */
import type { BundleManifest } from "../../bundle/manifest.ts";
import { PARTS } from "../../bundle/published-parts.ts";

/** A line for each part: what it is, what it tells, and what a client would find out anyway. */
export function describePublished({ changes }: BundleManifest): string[] {
  return (changes?.published ?? []).map((name) => {
    const { what, tells, anyway } = PARTS[name];
    return `${what}: tells ${tells}; a client that asks would learn anyway: ${anyway}`;
  });
}

/** The same for JSON; nothing where nothing is published. */
export function publishedFacts({ changes }: BundleManifest): Record<string, unknown> {
  if (changes === undefined) return {};
  const { published, tensors, tokens, scales, biases } = changes;
  return {
    published: published.map((name) => ({ part: name, ...PARTS[name] })),
    publishedTensors: {
      tensors: tensors.flatMap(({ names, dtype, shape }) => names.map((name) => ({ name, dtype, shape }))),
      tokens: tokens.flatMap(({ modules, count }) => modules.map((module) => ({ module, count }))),
      scales: scales.map(({ module }) => module),
      biases: biases.map(({ module }) => module),
    },
  };
}
