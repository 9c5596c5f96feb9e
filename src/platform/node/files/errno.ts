/** "ENOENT" of a failure of the operating system, or "unknown error". */
export function errnoOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? "unknown error");
}
