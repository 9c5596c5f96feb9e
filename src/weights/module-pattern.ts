/**
 * Keys of `rank_pattern` and `alpha_pattern`: regular expressions, which PEFT looks for at the end of a module's path,
 * from its start or from a dot on. Source: PEFT `src/peft/utils/other.py`, get_pattern_key.
 *
 * An adapter's files are untrusted, and some expressions take ages on some names. So only those are read in which that
 * cannot be: no repeated groups, few repetitions, few choices.
 */

/** One step of an expression: a letter, an escaped mark, a class, a group of alternatives. */
const PIECE =
  /^(?:[\w-]|\\[.\-_]|\.|\\d|\[(?:\w-\w|\w)+\]|\((?:\?:)?(?:\w|\\\.|\\d|-)+(?:\|(?:\w|\\\.|\\d|-)+)*\))/;
const REPETITION = /^[+*]/;
const MAX_LENGTH = 200;
/** Each may begin and end at any letter of a name: two of them take a few thousand steps. */
const MAX_REPETITIONS = 2;
/** Ways to choose among the alternatives of all groups. */
const MAX_CHOICES = 64;

/** Whether a module's path fits the key; undefined for an expression that is not read. */
export function modulePattern(key: string): ((module: string) => boolean) | undefined {
  if (key === "" || key.length > MAX_LENGTH || !isPlain(key)) return undefined;
  const expression = new RegExp(`^(.*\\.)?(${key})$`);
  return (module) => expression.test(module);
}

function isPlain(key: string): boolean {
  let rest = key.replace(/^\^/, "").replace(/\$$/, "");
  let [repetitions, choices] = [0, 1];
  while (rest !== "") {
    const piece = PIECE.exec(rest)?.[0];
    if (piece === undefined) return false;
    rest = rest.slice(piece.length);
    if ((choices *= piece.split("|").length) > MAX_CHOICES) return false;
    const repeated = REPETITION.exec(rest)?.[0];
    if (repeated === undefined) continue;
    if (piece.startsWith("(") || ++repetitions > MAX_REPETITIONS) return false;
    rest = rest.slice(repeated.length);
  }
  return true;
}
