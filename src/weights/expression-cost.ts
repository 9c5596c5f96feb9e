/**
 * How long a regular expression may take: an upper bound of the ways in which a backtracking engine can try to match
 * a text. Each unbounded quantifier has `length` + 1 ends to try, k of them in a row C(length + k, k) together; each
 * optional part doubles what there is to try, alternatives add up.
 */

interface Tries {
  /** Choices that do not depend on the text. */
  readonly choices: number;
  /** Quantifiers that can take any part of the text. */
  readonly loops: number;
}

/**
 * @param source of a valid expression with the u flag that repeats no group
 * @param length of the text
 */
export function expressionCost(source: string, length: number): number {
  let at = 0;

  /** Alternatives up to the closing bracket or the end: the dearest of them, as often as there are. */
  function alternatives(): Tries {
    let [choices, loops, count] = [1, 0, 0];
    do {
      const branch = sequence();
      choices = Math.max(choices, branch.choices);
      loops = Math.max(loops, branch.loops);
      count++;
    } while (source[at++] === "|");
    return { choices: choices * count, loops };
  }

  function sequence(): Tries {
    let [choices, loops] = [1, 0];
    while (at < source.length && source[at] !== "|" && source[at] !== ")") {
      const inner = atom();
      choices *= inner.choices;
      loops += inner.loops;
      const mark = source[at];
      if (mark === "*" || mark === "+" || mark === "{") loops++;
      else if (mark === "?") choices *= 2;
      else continue;
      at = mark === "{" ? source.indexOf("}", at) + 1 : at + 1;
      if (source[at] === "?") at++; // lazy
    }
    return { choices, loops };
  }

  function atom(): Tries {
    const mark = source[at++];
    if (mark === "\\") at++;
    if (mark === "[") {
      while (source[at] !== "]") at += source[at] === "\\" ? 2 : 1;
      at++;
    }
    if (mark !== "(") return { choices: 1, loops: 0 };
    // (?: … ), (?= … ), (?<name> … )
    if (source[at] === "?") at += 2;
    return alternatives();
  }

  const { choices, loops } = alternatives();
  let ends = 1;
  for (let i = 1; i <= loops; i++) ends *= (length + i) / i;
  return choices * ends;
}
