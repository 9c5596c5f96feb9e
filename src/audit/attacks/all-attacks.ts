/** Every attack, in the order in which the report shows them. */
import type { Attack } from "../attack.ts";
import { oneReply } from "./one-reply.ts";
import { ordinaryPrompts } from "./ordinary-prompts.ts";
import { packedQueries } from "./packed-queries.ts";
import { stripPadding } from "./strip-padding.ts";
import { unitQueries } from "./unit-queries.ts";

export const ALL_ATTACKS: readonly Attack[] = [
  ordinaryPrompts,
  unitQueries,
  packedQueries,
  stripPadding,
  oneReply,
];
