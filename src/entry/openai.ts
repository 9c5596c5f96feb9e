/** OpenAI's API as a function Request → Response, over any loaded model. docs/openai.md. @module */
export type { Answer, AnswerEnd, AnswerPiece } from "../generation/answer.ts";
export type { DraftLimits } from "../generation/drafts/drafting.ts";
export type { CausalLm, DraftOptions } from "../model/causal-lm.ts";
export type { AccessOptions } from "../openai/access.ts";
export {
  ContextPool,
  Endpoint,
  type EndpointOptions,
  FairSemaphore,
  type RequestEntry,
  ServedModel,
  type ServedModelOptions,
} from "../openai/endpoint.ts";
export type { GenerationRequest, RequestPrompt } from "../openai/parse-request.ts";
export type { Answering } from "../openai/served-model.ts";
export type { Checkpoint } from "../weights/checkpoint.ts";
