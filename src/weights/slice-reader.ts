/** Bytes of tensors that are decoded a slice at a time, as an expert. */

export class SliceReader {
  /** The slice that was decoded last: of those that are read one behind the other each is decoded once. */
  #last: { readonly of: object; readonly index: number; readonly bytes: Promise<Uint8Array> } | undefined;

  /**
   * Bytes [offset, offset + length) of a tensor.
   *
   * @param of the tensor, or whatever else tells it from others
   * @param decode gives slice `index`, of `sliceBytes`
   */
  async read(
    of: object,
    {
      offset,
      length,
      sliceBytes,
    }: { readonly offset: number; readonly length: number; readonly sliceBytes: number },
    decode: (index: number) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    for (let at = offset; at < offset + length; ) {
      const index = Math.floor(at / sliceBytes);
      if (this.#last?.of !== of || this.#last.index !== index)
        this.#last = { of, index, bytes: decode(index) };
      const start = index * sliceBytes;
      const end = Math.min(offset + length, start + sliceBytes);
      out.set((await this.#last.bytes).subarray(at - start, end - start), at - offset);
      at = end;
    }
    return out;
  }
}
