"""jinja2 as transformers sets it up for chat templates, with a clock that stands still."""
import copy
import datetime
import json

import jinja2
import jinja2.ext
import jinja2.sandbox

NOW = datetime.datetime(2024, 7, 5, 9, 3, 7)


class Generation(jinja2.ext.Extension):
    """The block that marks the model's own words; it gives its text as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_text"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _text(self, context, caller):
        return caller()


class Raised(Exception):
    pass


def raise_exception(message):
    raise Raised(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: NOW.strftime(format)
    return env


def answer(env, source, variables):
    """The text; {"raised": message} for the template's own refusal; None for any other error.

    Each has its own variables: a filter of jinja2 changes a list that it fails on (`[]|indent`).
    """
    try:
        return env.from_string(source).render(**copy.deepcopy(variables))
    except Raised as error:
        return {"raised": str(error)}
    except Exception:
        return None
