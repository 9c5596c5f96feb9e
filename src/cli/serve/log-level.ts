/** How severe a line of the endpoint's log must be; apart from the log, so that other commands load nothing of it. */
export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
