/**
 * What a template fails with. Messages name parts of the template and types of values, never a value: those are the
 * conversation.
 */

/** The template cannot be read or rendered, here or in jinja2. */
export class TemplateFault extends Error {
  override readonly name = "TemplateFault";
}

/** The template's own `raise_exception`, whose message is meant for the user. */
export class TemplateRefusal extends Error {
  override readonly name = "TemplateRefusal";
}
