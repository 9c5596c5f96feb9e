/** OpenAI's API as a function Request → Response, over any loaded model. docs/openai.md. @module */
export {
  Endpoint,
  type EndpointOptions,
  ServedModel,
  type ServedModelOptions,
  Turns,
} from "../openai/endpoint.ts";
