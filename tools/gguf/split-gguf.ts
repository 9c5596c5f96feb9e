/** A GGUF file in several, as `llama-gguf-split` makes them: the first has the metadata, each says which it is. */
import { type GgufFile, type GgufTensor, writeGguf } from "./write-gguf.ts";

/** @param counts tensors of each part; a first part without any holds the metadata alone */
export function splitGguf({ metadata, tensors }: GgufFile, counts: readonly number[]): GgufFile[] {
  let next = 0;
  return counts.map((count, i) => {
    const own: readonly GgufTensor[] = tensors.slice(next, next + count);
    next += count;
    return {
      metadata: {
        ...(i === 0 ? metadata : {}),
        "split.no": ["uint16", i],
        "split.count": ["uint16", counts.length],
        "split.tensors.count": ["int32", tensors.length],
      },
      tensors: own,
    };
  });
}

/** What the files are called: NAME-00001-of-00003.gguf. */
export function partName(stem: string, i: number, count: number): string {
  const digits = (n: number) => String(n).padStart(5, "0");
  return `${stem}-${digits(i + 1)}-of-${digits(count)}.gguf`;
}

/** Writes the parts. @returns their paths */
export function writeParts(stem: string, file: GgufFile, counts: readonly number[]): string[] {
  return splitGguf(file, counts).map((part, i) => {
    const path = partName(stem, i, counts.length);
    writeGguf(path, part);
    return path;
  });
}
