/** The drafts of an answer: who drafts, how many, and that they cost no more than they may. */

import type { CausalLm } from "../../model/causal-lm.ts";
import { Acceptance, bestCount, PassCost } from "./draft-estimates.ts";
import { modelDrafter, promptLookup } from "./drafters.ts";
import {
  acceptedOf,
  type DraftContext,
  type DraftCounts,
  type Drafter,
  type Drafting,
  type DraftLimits,
  type PassOutcome,
} from "./drafting.ts";

/** One pass reads a token and these at most: so many tokens the model takes for a step and not for a text. */
export const MOST_DRAFTS = 31;
/**
 * A number of drafts is kept for so many passes. A provider sees how many vectors a pass has: what was right shall show in
 * that as little as can be.
 */
const PLANNED_PASSES = 8;
/** A number that is only a guess is soon a better one. */
const GUESSED_PASSES = 2;
/** A provider that answers sooner is near: drafts would cost vectors for a gain that nobody sees. */
const NEAR_MS = 3;
const GUESSES = { drafts: 0.65, lookup: 0.4, model: 0.65 };

/** What is known of drafting for one model, by all answers together. */
class ModelDrafts {
  readonly cost = new PassCost();
  readonly drafts = new Acceptance(GUESSES.drafts);
  readonly lookup = new Acceptance(GUESSES.lookup);
  readonly model = new Acceptance(GUESSES.model);
  /** Milliseconds of the base model for a token, lately; undefined: not measured. */
  tokenMs: number | undefined;
  /** Of a draft, whoever made it. */
  draftMs: number | undefined;
  /** Rows of passes that are on their way, of all answers. */
  rowsUnderWay = 0;
}

/** While none is under way. */
const NO_PASS = { rows: 0, suggested: [] as readonly number[], looked: 0, modelMs: 0, expectedMs: 0 };

const KNOWN = new WeakMap<CausalLm, ModelDrafts>();

function knownOf(model: CausalLm): ModelDrafts {
  let known = KNOWN.get(model);
  if (known === undefined) KNOWN.set(model, (known = new ModelDrafts()));
  return known;
}

export class PlannedDrafts implements Drafting {
  readonly #model: CausalLm;
  readonly #limits: DraftLimits;
  readonly #counts: DraftCounts;
  readonly #known: ModelDrafts;
  readonly #drafter: Drafter;
  /** Tokens of the answer. */
  #tokens = 0;
  /** Vectors of drafts that were wrong. */
  #wasted = 0;
  #isRefused = false;
  #plan = { count: 0, passes: 0 };
  /** Of the pass that is under way: rows, ids that the context would suggest, and of these how many were drafted. */
  #pass = NO_PASS;

  /** @param counts is kept up to date */
  constructor(model: CausalLm, limits: DraftLimits, counts: DraftCounts = { drafted: 0, accepted: 0 }) {
    this.#model = model;
    this.#limits = limits;
    this.#counts = counts;
    this.#known = knownOf(model);
    this.#drafter = modelDrafter(model);
  }

  async draft(context: DraftContext, most: number): Promise<readonly number[]> {
    const count = this.#countFor(context, most);
    const drafts = count === 0 ? [] : await this.#draft(context, count);
    const rows = 1 + drafts.length;
    this.#known.rowsUnderWay += rows;
    const { modelMs } = this.#model.timings;
    this.#pass = { ...this.#pass, rows, modelMs, expectedMs: this.#model.expectedMs(rows) };
    return drafts;
  }

  passed(outcome: PassOutcome): void {
    const { drafts, chosen, ms } = outcome;
    const known = this.#known;
    const { rows, suggested, looked, modelMs, expectedMs } = this.#pass;
    this.end();
    this.#tokens += chosen.length;
    if (rows === 0) return; // the prompt
    known.cost.add(rows, ms, expectedMs);
    if (rows === 1) known.tokenMs = recent(known.tokenMs, this.#model.timings.modelMs - modelMs);
    // Behind what was chosen nobody knows what is right.
    const tried = (ids: readonly number[]) => ids.slice(0, chosen.length);
    if (suggested.length > 0)
      known.lookup.add(acceptedOf({ drafts: tried(suggested), chosen }), tried(suggested).length);
    if (drafts.length === 0) {
      known.drafts.forget();
      return;
    }
    const accepted = acceptedOf(outcome);
    const length = tried(drafts).length;
    known.drafts.add(accepted, length);
    if (accepted >= looked && length > looked) known.model.add(accepted - looked, length - looked);
    this.#counts.drafted += drafts.length;
    this.#counts.accepted += accepted;
    this.#wasted += drafts.length + 1 - chosen.length;
  }

  refused(drafts: readonly number[]): void {
    this.#isRefused = true;
    this.#counts.drafted += drafts.length;
    this.#wasted += drafts.length;
    this.end();
  }

  /** Of a pass that failed, or is through. */
  end(): void {
    this.#known.rowsUnderWay -= this.#pass.rows;
    this.#pass = NO_PASS;
  }

  async #draft(context: DraftContext, count: number): Promise<readonly number[]> {
    const start = performance.now();
    const known = this.#known;
    const suggested = await promptLookup.draft(context, count);
    const looked = known.lookup.rate >= known.model.rate ? suggested : [];
    let drafts = looked;
    if (looked.length < count) {
      const behind: DraftContext = {
        ...context,
        ids: [...context.ids, ...looked],
        next: [...context.next, ...looked],
        choose: (logits, ahead) => context.choose(logits, [...looked, ...ahead]),
      };
      drafts = [...looked, ...(await this.#drafter.draft(behind, count - looked.length))];
    }
    this.#pass = { ...NO_PASS, suggested, looked: looked.length };
    if (drafts.length > 0) known.draftMs = recent(known.draftMs, (performance.now() - start) / drafts.length);
    return drafts;
  }

  #countFor({ next, cache }: DraftContext, most: number): number {
    const { drafts } = this.#limits;
    if (drafts === 0 || this.#isRefused || !this.#model.canDraft) return 0;
    // What the base model reads alone it need not guess.
    if (cache.adaptedFrom > cache.length) return 0;
    const room = this.#model.roomBehind(cache.length + next.length);
    const allowed = Math.min(most, room, MOST_DRAFTS, this.#left());
    const planned = this.#planned();
    return allowed < 1 ? 0 : Math.min(planned, allowed);
  }

  /** Vectors that the account has left besides the pass itself: the provider knows them. */
  #left(): number {
    const left = this.#model.deltas?.vectorsLeft;
    return left === undefined ? Number.POSITIVE_INFINITY : left - this.#known.rowsUnderWay - 1;
  }

  /** How many wrong drafts the user bears from here on. */
  #affordable(): number {
    const { draftBudget = this.#model.deltas?.vectorsLeft === undefined ? Number.POSITIVE_INFINITY : 1 } =
      this.#limits;
    return draftBudget * (this.#tokens + 1) - this.#wasted;
  }

  /**
   * The same number for all passes of a plan, also as far as the draft budget goes: it is settled for the plan as if all of
   * its drafts were wrong. Else each pass would show how many drafts of the one before were right.
   */
  #planned(): number {
    if (this.#plan.passes === 0) {
      const { drafts } = this.#limits;
      const wanted = drafts ?? this.#worthwhile();
      if (wanted === undefined) return 0;
      const passes = drafts === undefined && this.#known.drafts.isGuess ? GUESSED_PASSES : PLANNED_PASSES;
      const count = Math.max(0, Math.min(wanted, Math.floor(this.#affordable() / passes)));
      this.#plan = { count, passes };
    }
    this.#plan.passes--;
    return this.#plan.count;
  }

  /** undefined: too little is known. */
  #worthwhile(): number | undefined {
    const line = this.#model.deltas?.line;
    const { cost, drafts, draftMs, tokenMs } = this.#known;
    if (line === undefined || !cost.isKnown) return undefined;
    if (line.roundTripMs < NEAR_MS) return 0;
    return bestCount(MOST_DRAFTS, drafts.rate, {
      passMs: (rows) => cost.at(rows, this.#model.expectedMs(rows)),
      draftMs: draftMs ?? tokenMs ?? 0,
    });
  }
}

/** A mean in which the last ones count most. */
function recent(mean: number | undefined, value: number): number {
  return mean === undefined ? value : mean + (value - mean) / 8;
}
