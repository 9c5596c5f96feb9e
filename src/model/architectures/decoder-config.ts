/** config.json of a decoder, read into our own terms. Hugging Face's field names stop where a family reads them. */

/** What every family says; each adds what its own forward pass needs. */
export interface DecoderConfig {
  readonly layers: number;
  readonly hiddenSize: number;
  /** Query heads. */
  readonly heads: number;
  readonly vocabSize: number;
  /** Longest context of training, in tokens. */
  readonly trainedContext: number;
  /** Most tokens of a context, where more would be wrong, and why. */
  readonly contextLimit?: { readonly tokens: number; readonly reason: string };
}
