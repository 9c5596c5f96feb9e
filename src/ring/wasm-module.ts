/** The compiled kernels: one WebAssembly module per build, shared by every instance. */
import { KERNELS_DEBUG } from "./generated/kernels-debug.ts";
import { KERNELS_RELEASE } from "./generated/kernels-release.ts";

/** release: asserts compiled out; debug: the same source, range asserts trap. */
export type KernelBuild = "release" | "debug";

type InnerProductsKernel = (
  lo: number,
  hi: number,
  planeRows: number,
  small: number,
  smallRows: number,
  length: number,
  out: number,
  outPlaneStride: number,
  outSmallStride: number,
  add: number,
) => void;

/** What kernels/index.ts exports. Addresses and counts are u32. */
export interface KernelExports {
  readonly memory: WebAssembly.Memory;
  readonly ringDegree: { readonly value: number };
  readonly spectrumBytes: { readonly value: number };
  readonly secretStart: { readonly value: number };
  readonly staticEnd: { readonly value: number };
  initialise(): void;
  wipe(address: number, bytes: number): void;
  wipeScratch(): void;
  prepareElement(words: number, transposed: number, out: number): void;
  transformSmall(small: number, count: number, out: number): void;
  transformSmall8(small: number, count: number, out: number): void;
  addToSum(element: number, small: number, count: number, first: number): void;
  finishSum(
    element: number,
    small: number,
    count: number,
    first: number,
    out: number,
    outCount: number,
  ): void;
  addProductOf(element: number, spectrum: number, out: number, count: number): void;
  sampleTernary(random: number, randomBytes: number, out: number): number;
  expandRandom(key: number, nonceLow: number, nonceHigh: number, out: number, bytes: number): void;
  addErrors(words: number, count: number, random: number): void;
  addMarks(words: number, count: number, delta: number, odds: number, random: number): void;
  addUniform(words: number, count: number, bits: number, random: number): void;
  sampleUniform(random: number, count: number, bits: number, out: number): void;
  sampleUniform8(random: number, count: number, bits: number, out: number): void;
  squaredNorm(x: number, n: number): number;
  scaleActivation(x: number, n: number, scale: number, out: number): void;
  packTop(words: number, count: number, bits: number, out: number): number;
  unpackTop(packed: number, count: number, bits: number, words: number): void;
  recoverRows(
    words: number,
    products: number,
    scales: number,
    count: number,
    inverse: number,
    largest: number,
    smallest: number,
  ): void;
  splitWords(words: number, count: number, lo: number, hi: number): void;
  combineColumns(
    columns: number,
    count: number,
    length: number,
    factors: number,
    vectors: number,
    out: number,
    add: number,
  ): void;
  readonly innerProducts: InnerProductsKernel;
  readonly innerProducts8: InnerProductsKernel;
}

const modules = new Map<KernelBuild, WebAssembly.Module>();

/** A new instance with a separate memory; the module is compiled at the first call for a build. */
export function instantiateKernels(build: KernelBuild): KernelExports {
  let module = modules.get(build);
  if (module === undefined) {
    const text = atob(build === "debug" ? KERNELS_DEBUG : KERNELS_RELEASE);
    module = new WebAssembly.Module(Uint8Array.from(text, (char) => char.charCodeAt(0)));
    modules.set(build, module);
  }
  const kernels = new WebAssembly.Instance(module).exports as unknown as KernelExports;
  kernels.initialise();
  return kernels;
}
