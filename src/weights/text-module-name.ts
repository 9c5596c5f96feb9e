/** What the modules of a language model are called inside a model that also sees or hears. */

/** "language_model.model.layers.0", "model.language_model.layers.0", "model.text_model.layers.0", "language_model.lm_head" */
const INSIDE = /^(?:model\.)?(?:language_model|text_model)\.(?:model\.)?(?!vision)/;

/** The name in a language model by itself ("model.layers.0", "lm_head"); others stay as they are. */
export function textModuleName(name: string): string {
  if (!INSIDE.test(name)) return name;
  const rest = name.replace(INSIDE, "");
  return rest.startsWith("lm_head") ? rest : `model.${rest}`;
}
