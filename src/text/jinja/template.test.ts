import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { JinjaTemplate, TemplateFault, TemplateRefusal } from "./template.ts";

const VECTORS = new URL("../../../test/vectors/jinja/", import.meta.url);

type Answer = string | { raised: string } | null;

interface Fixture {
  readonly now: string;
  /** How many of the cases stand for an expression. */
  readonly expressions: number;
  readonly variables: Record<string, unknown>;
  readonly conversations: Record<string, Record<string, unknown>>;
  readonly cases: [string, ...string[], Answer][];
}

const read = (name: string): string => readFileSync(new URL(name, VECTORS), "utf8");
const fixture = (name: string): Fixture => JSON.parse(read(name));

/** Our own result: a text, the template's refusal, or null with the reason of ours. */
function rendered(
  source: string,
  variables: Record<string, unknown>,
  now: string,
): { answer: Answer; why: string } {
  try {
    return { answer: new JinjaTemplate(source).render(variables, () => new Date(now)), why: "" };
  } catch (error) {
    if (error instanceof TemplateRefusal) return { answer: { raised: error.message }, why: "" };
    if (error instanceof TemplateFault) return { answer: null, why: error.message };
    throw error;
  }
}

/** Cases that differ from jinja2's answer, and cases that jinja2 answers and we refuse. */
function differences(
  cases: readonly (readonly [name: string, expected: Answer, ours: ReturnType<typeof rendered>])[],
): {
  wrong: string[];
  refused: string[];
} {
  const wrong: string[] = [];
  const refused: string[] = [];
  for (const [name, expected, { answer, why }] of cases) {
    if (JSON.stringify(answer) === JSON.stringify(expected)) continue;
    if (answer === null) refused.push(`${name}  # ${why}`);
    else wrong.push(`${name}: ${JSON.stringify(answer)}, jinja2: ${JSON.stringify(expected)}`);
  }
  return { wrong, refused };
}

describe("templates as jinja2 renders them", () => {
  it("expressions and short templates: each equal or refused, and no more refused than is written down", () => {
    const { cases, variables, now, expressions } = fixture("expressions.json");
    const compared = cases.map(([source, expected], i) => {
      const template = i < expressions ? `{{ ${source} }}` : source;
      return [JSON.stringify(source), expected as Answer, rendered(template, variables, now)] as const;
    });
    const { wrong, refused } = differences(compared);
    expect(wrong).toEqual([]);
    expect(`${refused.join("\n")}\n`).toBe(read("refused.txt"));
  });

  it("chat templates: each equal", () => {
    const { cases, conversations, now } = fixture("templates.json");
    const compared = cases.map(([file, name, expected]) => {
      const source = read(`templates/${file}`);
      return [
        `${file}, ${name}`,
        expected as Answer,
        rendered(source, conversations[name as string], now),
      ] as const;
    });
    const { wrong, refused } = differences(compared);
    expect(wrong).toEqual([]);
    expect(refused).toEqual([]);
    expect(new Set(cases.map(([file]) => file))).toEqual(new Set(readdirSync(new URL("templates", VECTORS))));
  });
});

describe("what a hostile template may do", () => {
  const big = "x".repeat(1 << 20);
  const render = (source: string): string =>
    new JinjaTemplate(source).render({ big, wide: "😀".repeat(1 << 16) });
  const loop = (body: string): string => `{% for a in range(100000) %}${body}{% endfor %}`;
  const grown = (start: string, step: string, use: string): string =>
    `{% set ns = namespace(s=${start}) %}{% for a in range(100) %}{% set ns.s = ${step} %}{% endfor %}${use}`;

  it.each([
    ["loops in loops", loop(loop("{{ a }}"))],
    ["a text that doubles", grown("'ab'", "ns.s + ns.s", "")],
    ["a list that holds itself twice, printed", grown("[1]", "[ns.s, ns.s]", "{{ ns.s }}")],
    ["the same as JSON", grown("[1]", "[ns.s, ns.s]", "{{ ns.s|tojson }}")],
    ["the same compared", grown("[1]", "[ns.s, ns.s]", "{{ ns.s == [ns.s, 1] or ns.s == ns.s }}")],
    ["the same as a key", grown("(1,)", "(ns.s, ns.s)", "{{ {ns.s: 1}|length }}")],
    ["a number that is squared", grown("7", "ns.s * ns.s", "")],
    ["a power", "{{ 9 ** 9999999 }}"],
    ["searches in a long text", loop("{% if 'yy' in big %}{% endif %}")],
    ["copies of a long text", loop("{% set x = big|upper %}")],
    ["parts of a long text", loop("{% set x = big.split('x') %}")],
    ["characters of a long text", loop("{{ wide[a] }}")],
    ["a text with its letters replaced by itself", "{{ big.replace('x', big) }}"],
    ["a text repeated", "{{ 'a' * 10000000000 }}"],
    ["a wide field", "{{ 'a'|center(10000000000) }}{{ '%999999999d' % 1 }}"],
    ["another wide field", "{{ '{:999999999}'.format(1) }}"],
    ["a long row", "{{ [1]|batch(99999999999, 'x')|list }}"],
    ["macros that call themselves", "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}"],
    ["parentheses", `{{ ${"(".repeat(10_000)}1${")".repeat(10_000)} }}`],
    ["blocks", "{% if 1 %}".repeat(10_000)],
    ["a chain", `{{ a${".b".repeat(100_000)} }}`],
    [
      "many names",
      Array.from({ length: 9_000 }, (_, i) => `{% if a %}{% set v${i} = 1 %}{% endif %}`).join(""),
    ],
    ["comments that do not end", "{#".repeat(100_000)],
    ["a tag that does not end", `{%${" ".repeat(100_000)}`],
    ["a long template", " ".repeat((1 << 20) + 1)],
  ])("refuses %s", (_, source) => {
    expect(() => render(source)).toThrow(TemplateFault);
  });

  it("takes a long text's letters off another without comparing each with each", () => {
    expect(render("{{ big.strip('y' * 1000000 ~ 'x')|length }}")).toBe("0");
  });

  it("renders a conversation of two thousand long messages", () => {
    const messages = Array.from({ length: 2_000 }, (_, i) => ({
      role: i % 2 === 0 ? "user" : "assistant",
      content: "word ".repeat(200),
    }));
    const rendered = new JinjaTemplate(read("templates/thinking.jinja")).render({
      messages,
      add_generation_prompt: true,
      tools: null,
    });
    expect(rendered.length).toBeGreaterThan(2_000 * 1_000);
  });
});
