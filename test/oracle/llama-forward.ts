/**
 * The forward pass of the Llama family from its definition: float64, every position from the whole context, no
 * cache, nothing joined or padded. It reads config.json's own fields, and knows only what the tests write there.
 */

export type RawConfig = Readonly<Record<string, unknown>>;
/** By name, row-major. */
export type Weights = ReadonlyMap<string, ArrayLike<number>>;
type Rows = number[][];

export interface ForwardResult {
  /** By position. */
  readonly logits: Rows;
  /** The residual stream after the embedding and after each layer, by position. */
  readonly hidden: readonly Rows[];
}

export function llamaForward(raw: RawConfig, weights: Weights, ids: readonly number[]): ForwardResult {
  const layers = raw.num_hidden_layers as number;
  const size = raw.hidden_size as number;
  const epsilon = raw.rms_norm_eps as number;
  const table = weights.get("model.embed_tokens.weight")!;
  let h: Rows = ids.map((id) => row(table, id, size));
  const hidden = [h];
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    const normed = h.map((x) => norm(x, weights.get(`${at}.input_layernorm.weight`)!, epsilon));
    h = add(h, attention(raw, weights, layer, normed));
    const again = h.map((x) => norm(x, weights.get(`${at}.post_attention_layernorm.weight`)!, epsilon));
    h = add(
      h,
      again.map((x) => mlp(weights, at, x)),
    );
    hidden.push(h);
  }
  const head = raw.tie_word_embeddings ? table : weights.get("lm_head.weight")!;
  const last = h.map((x) => norm(x, weights.get("model.norm.weight")!, epsilon));
  return { logits: last.map((x) => product(head, x)), hidden };
}

function attention(raw: RawConfig, weights: Weights, layer: number, xs: Rows): Rows {
  const heads = raw.num_attention_heads as number;
  const kvHeads = (raw.num_key_value_heads as number | undefined) ?? heads;
  const d = (raw.head_dim as number | undefined) ?? (raw.hidden_size as number) / heads;
  const at = `model.layers.${layer}.self_attn`;
  /** (positions, heads, d): projected, normed if there is a norm, turned if asked. */
  const project = (name: string, turned: boolean): number[][][] =>
    xs.map((x, position) =>
      pieces(linear(weights, `${at}.${name}_proj`, x), d).map((head) => {
        const weight = weights.get(`${at}.${name}_norm.weight`);
        const normed = weight ? norm(head, weight, raw.rms_norm_eps as number) : head;
        return turned ? turn(raw, normed, position) : normed;
      }),
    );
  const [q, k, v] = [project("q", true), project("k", true), project("v", false)];
  const window = windowOf(raw, layer);
  return xs.map((_, position) => {
    const first = Math.max(0, position - window + 1);
    const out = Array.from({ length: heads }, (_, head) => {
      const from = Math.floor(head / (heads / kvHeads));
      const scores: number[] = [];
      for (let p = first; p <= position; p++) scores.push(dot(q[position][head], k[p][from]) / Math.sqrt(d));
      const most = Math.max(...scores);
      const parts = scores.map((score) => Math.exp(score - most));
      const total = parts.reduce((sum, part) => sum + part, 0);
      return Array.from({ length: d }, (_, i) =>
        parts.reduce((sum, part, j) => sum + (part / total) * v[first + j][from][i], 0),
      );
    });
    return linear(weights, `${at}.o_proj`, out.flat());
  });
}

/** How many keys a token of this layer sees, itself the last. */
function windowOf(raw: RawConfig, layer: number): number {
  const size = raw.sliding_window as number | null | undefined;
  if (raw.model_type === "mistral") return size ?? Number.POSITIVE_INFINITY;
  if (!raw.use_sliding_window || !size) return Number.POSITIVE_INFINITY;
  if (raw.layer_types) {
    return (raw.layer_types as string[])[layer] === "sliding_attention" ? size : Number.POSITIVE_INFINITY;
  }
  return layer >= ((raw.max_window_layers as number | undefined) ?? 0) ? size : Number.POSITIVE_INFINITY;
}

/** Pairs (i, i + d/2) by the angle position·w_i. */
function turn(raw: RawConfig, head: number[], position: number): number[] {
  const half = head.length / 2;
  return head.map((x, i) => {
    const angle = position * frequency(raw, i % half, head.length);
    const other = i < half ? -head[i + half] : head[i - half];
    return x * Math.cos(angle) + other * Math.sin(angle);
  });
}

function frequency(raw: RawConfig, i: number, d: number): number {
  const record = (raw.rope_parameters ?? raw.rope_scaling ?? {}) as Record<string, number | string>;
  const theta = Number(record.rope_theta ?? raw.rope_theta ?? 10000);
  const w = 1 / theta ** ((2 * i) / d);
  const kind = record.rope_type ?? record.type ?? "default";
  if (kind === "default") return w;
  const factor = Number(record.factor);
  if (kind === "linear") return w / factor;
  // llama3, in wavelengths as transformers has it.
  const [low, high] = [Number(record.low_freq_factor), Number(record.high_freq_factor)];
  const context = Number(record.original_max_position_embeddings);
  const wavelength = (2 * Math.PI) / w;
  if (wavelength < context / high) return w;
  if (wavelength > context / low) return w / factor;
  const smooth = (context / wavelength - low) / (high - low);
  return (1 - smooth) * (w / factor) + smooth * w;
}

function mlp(weights: Weights, at: string, x: number[]): number[] {
  const gate = linear(weights, `${at}.mlp.gate_proj`, x);
  const up = linear(weights, `${at}.mlp.up_proj`, x);
  return linear(
    weights,
    `${at}.mlp.down_proj`,
    gate.map((value, i) => (value / (1 + Math.exp(-value))) * up[i]),
  );
}

function linear(weights: Weights, name: string, x: number[]): number[] {
  const bias = weights.get(`${name}.bias`);
  const y = product(weights.get(`${name}.weight`)!, x);
  return bias ? y.map((value, i) => value + bias[i]) : y;
}

function norm(x: number[], weight: ArrayLike<number>, epsilon: number): number[] {
  const root = Math.sqrt(dot(x, x) / x.length + epsilon);
  return x.map((value, i) => (value / root) * weight[i]);
}

function product(matrix: ArrayLike<number>, x: number[]): number[] {
  return Array.from({ length: matrix.length / x.length }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < x.length; j++) sum += matrix[i * x.length + j] * x[j];
    return sum;
  });
}

const row = (table: ArrayLike<number>, i: number, size: number): number[] =>
  Array.from({ length: size }, (_, j) => table[i * size + j]);
const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i], 0);
const add = (a: Rows, b: Rows): Rows => a.map((x, i) => x.map((value, j) => value + b[i][j]));
const pieces = (x: number[], d: number): number[][] =>
  Array.from({ length: x.length / d }, (_, i) => x.slice(i * d, (i + 1) * d));
