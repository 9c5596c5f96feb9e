/**
 * What an adapter changes about text: where a turn ends, and how a conversation is written. It is public and small, and
 * travels in the bundle's manifest, so that a client writes prompts as the adapter has learnt them.
 */

export interface AdapterText {
  /** Ids that end an answer, besides those of the base model. */
  readonly endIds?: readonly number[];
  /** Jinja, as in chat_template.jinja. Absent: the base model's. */
  readonly chatTemplate?: string;
  /** Texts that the template sees instead of the base model's; keys of {@link TEMPLATE_TOKENS}. */
  readonly specialTokens?: Readonly<Record<string, string>>;
  /** Control tokens at ids that the base model has and its tokenizer does not use, or keeps in reserve. */
  readonly addedTokens?: readonly AddedControlToken[];
}

export interface AddedControlToken {
  readonly id: number;
  readonly text: string;
}

/** Names under which tokenizer_config.json has special tokens, and a template sees them. */
export const TEMPLATE_TOKENS: readonly string[] = [
  "bos_token",
  "eos_token",
  "unk_token",
  "pad_token",
  "sep_token",
  "cls_token",
  "mask_token",
];

/** Room for a few times what is published: the longest templates with tools have some 20,000 characters. */
export const ADAPTER_TEXT_LIMITS = { templateLength: 65_536, endIds: 32, addedTokens: 512 } as const;

/**
 * Whether a text may be a control token of an adapter: "<…>" or "[…]", at most 128 characters, no white space. It does
 * not turn up in what people write, so the number of tokens says no more of a text than it does without it.
 */
export function isControlTokenText(text: string): boolean {
  return /^(?:<[^\s<>\p{C}]{1,126}>|\[[^\s[\]\p{C}]{1,126}\])$/u.test(text);
}
