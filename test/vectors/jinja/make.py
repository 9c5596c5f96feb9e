"""Writes expressions.json and templates.json: jinja2's answers. See README.md."""
import json
import pathlib
import sys

import jinja2

from conversations import CONVERSATIONS
from environment import NOW, answer, environment
from expressions import CASES, VARIABLES
from snippets import SNIPPETS

here = pathlib.Path(__file__).parent
env = environment()
assert jinja2.__version__.startswith("3.1."), jinja2.__version__


def write(name, value):
    """One case a line."""
    head, cases = value
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    text = json.dumps(head, ensure_ascii=True)[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    (here / name).write_text(text)
    answered = sum(isinstance(case[-1], str) for case in cases)
    print(name, len(cases), "cases,", answered, "answered,", (here / name).stat().st_size, "bytes", file=sys.stderr)


def unstable(text):
    """An address, or an order that another run changes."""
    return isinstance(text, str) and " at 0x" in text


head = {"jinja2": jinja2.__version__, "now": NOW.isoformat()}
expressions = []
for source in dict.fromkeys(CASES):
    text = answer(env, "{{ " + source + " }}", VARIABLES)
    expressions.append([source, None if unstable(text) else text])
for source in dict.fromkeys(SNIPPETS):
    text = answer(env, source, VARIABLES)
    expressions.append([source, None if unstable(text) else text])
write("expressions.json", ({**head, "expressions": len(dict.fromkeys(CASES)), "variables": VARIABLES}, expressions))

templates = []
for path in sorted((here / "templates").glob("*.jinja")):
    source = path.read_bytes().decode()
    for name, variables in CONVERSATIONS.items():
        templates.append([path.name, name, answer(env, source, variables)])
write("templates.json", ({**head, "conversations": CONVERSATIONS}, templates))
