/** Where a client keeps bundles between sessions. Entries are content-addressed: a wrong one is ignored. */
export interface BundleCache {
  /** The bundle with this SHA-256 in hex, or undefined. */
  get(digest: string): Promise<Uint8Array | undefined>;
  /** May fail, by throwing, without harm: the bundle is then fetched again next time. */
  put(digest: string, bytes: Uint8Array): Promise<void>;
}
