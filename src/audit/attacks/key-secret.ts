/**
 * Reading S instead of asking for the function: entries of h_S bits, ⌊b0/h_S⌋ a vector, until the key is worn out; then
 * the same under the next key, whose S is another.
 *
 * Source: docs/parameters.md §Worn keys. What is left is LWE of dimension k − entries; at toy size toy/toy-report.ts
 * finishes it with lattice reduction.
 */
import { keyAfter } from "../../rlwe/parameter-security.ts";
import type { Attack, AttackContext, AttackResult } from "../attack.ts";
import { checkSecret, entriesPerQuery, readSecret, refusalOf } from "../key-queries.ts";
import { percent } from "../../base/show-number.ts";

/** Keys whose entries are compared. */
const KEYS = 4;

async function run({ view, open }: AttackContext): Promise<AttackResult[]> {
  const { parameters, rows } = view;
  const { keyLength, vectorsPerKey, secretBits } = parameters;
  const each = entriesPerQuery(parameters);
  const oracle = await open();
  const key = await oracle.fetchKey();
  // One vector is kept to check the others.
  const count = Math.min(keyLength, each * (vectorsPerKey - 1));
  const places = Array.from({ length: count - (count % each) }, (_, j) => j);
  const found = await readSecret(oracle, key, places);
  const right = await checkSecret(oracle, key, places, found);
  const refused = await refusalOf(() => oracle.askSecret(key, vectorsPerKey, () => {}));
  const left = keyAfter(parameters, vectorsPerKey);

  const compared = places.slice(0, 16 * each);
  const others: Int32Array[] = [];
  for (let i = 1; i < KEYS; i++) others.push(await readSecret(oracle, await oracle.fetchKey(), compared));
  let equal = 0;
  for (const other of others) {
    for (let r = 0; r < rows; r++) {
      for (let j = 0; j < compared.length; j++) {
        if (other[r * compared.length + j] === found[r * places.length + j]) equal++;
      }
    }
  }
  const tried = others.length * rows * compared.length;
  return [
    {
      attack: "secret",
      variant: "entries of S, one key",
      points: [],
      facts: {
        entriesPerQuery: each,
        entries: places.length,
        right,
        refused: refused === "worn_key" ? 1 : 0,
        dimensionLeft: keyLength - each * vectorsPerKey,
        coreBitsLeft: left.coreBits,
        standardBitsLeft: left.standardBits,
      },
      finding:
        `${vectorsPerKey} vectors read ${places.length} of the ${keyLength} entries of S, right in ${percent(right)} of ` +
        `the rows; the next is ${refused === "worn_key" ? "refused" : "ANSWERED"}. LWE of dimension ` +
        `${keyLength - each * vectorsPerKey} is left: ${left.coreBits.toFixed(0)} core bits ` +
        `(${left.standardBits.toFixed(0)} std)`,
    },
    {
      attack: "secret",
      variant: `entries of S, ${KEYS} keys`,
      points: [],
      facts: { keys: KEYS, tried, equal: equal / tried, guessing: 2 ** -secretBits },
      finding:
        `the same entries of ${KEYS} keys are equal in ${percent(equal / tried)} of cases, by chance ` +
        `${percent(2 ** -secretBits)}: what one key gave says nothing of another`,
    },
  ];
}

export const keySecret: Attack = {
  name: "secret",
  title: "reading a key's secret instead of the function",
  source: "docs/parameters.md, Worn keys",
  run,
};
