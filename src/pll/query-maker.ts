/**
 * Makes queries for layers whose {@link ClientLayer} has other kernels: those of another thread, where keys are and
 * results are recovered (client/encryption/). It has its own mask key, from the system's generator: nobody gives it
 * one, so no two makers draw the same masks. s and e of a query are drawn with it and never serve another.
 */
import { assertInteger } from "../base/assert.ts";
import { Kernels, RING_DEGREE } from "../ring/kernels.ts";
import type { RandomSource } from "../ring/random-source.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { MaskSource, type OneTimeMasks, SECRET_BYTES } from "../rlwe/mask-source.ts";
import { type Parameters, paddedLength } from "../rlwe/parameters.ts";
import { PublicElements } from "../rlwe/public-elements.ts";
import type { ForeignQuery } from "./client-layer.ts";
import { QueryEncryption } from "./query-encryption.ts";

/** What queries are made for. */
export interface QueryLayers {
  readonly bundleId: Uint8Array;
  readonly parameters: Parameters;
  /** n of each layer. */
  readonly inFeatures: readonly number[];
}

/** What a query is made with: without, it is drawn or allocated. */
export interface QueryMeans {
  /** Memory for what is secret of the query. */
  readonly memory?: ArrayBuffer | undefined;
  /** Of this maker's source, for as many vectors. They are spent, also if this throws. */
  readonly masks?: OneTimeMasks | undefined;
}

export class QueryMaker {
  /** Where masks for {@link make} may be made beforehand. */
  readonly masks: MaskSource;
  readonly #kernels: Kernels;
  readonly #pool: BufferPool;
  readonly #encryptions: readonly QueryEncryption[];

  /** @throws RangeError if the kernels do not have the parameters, or not the memory */
  constructor(
    { bundleId, parameters, inFeatures }: QueryLayers,
    random: RandomSource,
    kernels: Kernels = Kernels.load(),
  ) {
    this.#kernels = kernels;
    this.#pool = new BufferPool(this.#kernels);
    const elements = new PublicElements(this.#kernels, this.#pool, bundleId);
    this.masks = new MaskSource(this.#kernels, this.#pool, parameters, elements.element(0, false), random);
    const ofWidth = new Map<number, QueryEncryption>();
    this.#encryptions = inFeatures.map((n) => {
      const known = ofWidth.get(n) ?? new QueryEncryption(this.#kernels, elements, parameters, n);
      ofWidth.set(n, known);
      return known;
    });
  }

  /**
   * Encrypts x. The secrets of the query are in one new buffer, or in the given one if it is large enough.
   *
   * @param x (vectors, n) row-major, at least one vector
   * @throws RangeError on wrong lengths, or if kernel memory runs out
   */
  make(layer: number, x: Float32Array, { memory, masks: given }: QueryMeans = {}): ForeignQuery {
    try {
      return this.#make(layer, x, memory, given);
    } finally {
      if (given) this.masks.discard(given);
    }
  }

  #make(
    layer: number,
    x: Float32Array,
    memory: ArrayBuffer | undefined,
    given: OneTimeMasks | undefined,
  ): ForeignQuery {
    const encryption = this.#encryptions[assertInteger(layer, "layer", 0, this.#encryptions.length - 1)];
    const { inFeatures, padded, queryBytes } = encryption;
    const vectors = assertInteger(x.length / inFeatures, "vectors", 1, 1 << 20);
    const activationBytes = 2 * vectors * padded;
    const room = roomFor(vectors, inFeatures, memory);
    const bytes = new Uint8Array(vectors * queryBytes);
    const masks = given ?? this.masks.draw(vectors);
    try {
      const activations = this.#pool.acquire(activationBytes);
      try {
        encryption.encrypt(masks, x, { bytes, activations, scales: room.scales });
        room.activations.set(this.#kernels.shorts(activations, vectors * padded));
        room.secrets.set(this.#kernels.shorts(masks.secrets, vectors * RING_DEGREE));
      } finally {
        this.#pool.release(activations, activationBytes);
      }
    } finally {
      this.masks.discard(masks);
    }
    return { vectors, bytes, ...room, state: "fresh" };
  }

  /** Forgets the mask key; nothing more can be made. */
  wipe(): void {
    this.masks.wipe();
  }
}

/** Bytes of what is secret of a query: c, s and x̂. */
export function secretBytes(vectors: number, inFeatures: number): number {
  return vectors * (8 + SECRET_BYTES + 2 * paddedLength(inFeatures));
}

/** One buffer for all that is secret of a query, so that one transfer moves it. */
function roomFor(
  vectors: number,
  inFeatures: number,
  memory: ArrayBuffer | undefined,
): Pick<ForeignQuery, "scales" | "secrets" | "activations"> {
  const bytes = secretBytes(vectors, inFeatures);
  const buffer = memory !== undefined && memory.byteLength >= bytes ? memory : new ArrayBuffer(bytes);
  const at = 8 * vectors;
  return {
    scales: new Float64Array(buffer, 0, vectors),
    secrets: new Int16Array(buffer, at, vectors * RING_DEGREE),
    activations: new Int16Array(buffer, at + vectors * SECRET_BYTES, vectors * paddedLength(inFeatures)),
  };
}
