/** How severe a line of the endpoint's log must be; apart from the log, so that other commands load nothing of it. */
export const ENDPOINT_LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type EndpointLogLevel = (typeof ENDPOINT_LOG_LEVELS)[number];
