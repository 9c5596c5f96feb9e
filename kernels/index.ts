// What the host can call. Addresses are byte offsets into the exported memory; sizes are read from the globals.
export { scaleActivation, squaredNorm } from "./activations";
export { expandRandom } from "./chacha20";
export { combineColumns } from "./combine-columns";
export { addErrors } from "./errors";
export { initialise } from "./fft-tables";
export { innerProducts, innerProducts8 } from "./inner-products";
export { addMarks } from "./marks";
export {
  RING_DEGREE as ringDegree,
  SECRET_START as secretStart,
  SPECTRUM_BYTES as spectrumBytes,
  STATIC_END as staticEnd,
} from "./memory";
export { packTop, splitWords, unpackTop } from "./packing";
export { recoverRows } from "./recover";
export { addProductOf, addToSum, finishSum, prepareElement, transformSmall, transformSmall8 } from "./ring-product";
export { sampleTernary } from "./ternary";
export { addUniform, sampleUniform, sampleUniform8 } from "./uniform";
export { wipe, wipeScratch } from "./wipe";
