/** Every attack, in the order in which the report shows them. */
import type { Attack } from "../attack.ts";
import { amplitude } from "./amplitude.ts";
import { collusion } from "./collusion.ts";
import { guessableInit } from "./guessable-init.ts";
import { keyAgain } from "./key-again.ts";
import { keyErrors } from "./key-errors.ts";
import { keySecret } from "./key-secret.ts";
import { nearReplay } from "./near-replay.ts";
import { oneReply } from "./one-reply.ts";
import { ordinaryPrompts } from "./ordinary-prompts.ts";
import { packedQueries } from "./packed-queries.ts";
import { principalQueries } from "./principal-directions.ts";
import { keyDifference, unusedKey, versionDifference } from "./public-material.ts";
import { unitQueries } from "./unit-queries.ts";

export const ALL_ATTACKS: readonly Attack[] = [
  ordinaryPrompts,
  unitQueries,
  packedQueries,
  amplitude,
  nearReplay,
  principalQueries,
  guessableInit,
  collusion,
  unusedKey,
  keyDifference,
  versionDifference,
  keySecret,
  keyErrors,
  keyAgain,
  oneReply,
];
