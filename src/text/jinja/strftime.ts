/** `datetime.strftime` in the C locale, local time. */
import { TemplateFault } from "./errors.ts";

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/** @throws TemplateFault for a directive that is not known here */
export function strftime(format: string, date: Date): string {
  return format.replace(/%(-?)([\s\S]?)/gu, (_, bare: string, directive: string) => {
    if (bare === "" && directive in WORDS) return WORDS[directive](date);
    const number = NUMBERS[directive];
    if (number === undefined) throw new TemplateFault("strftime_now has a directive that is not supported");
    const [value, width] = number(date);
    return bare === "-" ? String(value) : String(value).padStart(width, "0");
  });
}

const WORDS: Record<string, (date: Date) => string> = {
  __proto__: null as never,
  "%": () => "%",
  a: (date) => DAYS[date.getDay()].slice(0, 3),
  A: (date) => DAYS[date.getDay()],
  b: (date) => MONTHS[date.getMonth()].slice(0, 3),
  B: (date) => MONTHS[date.getMonth()],
  p: (date) => (date.getHours() < 12 ? "AM" : "PM"),
  F: (date) => strftime("%Y-%m-%d", date),
  T: (date) => strftime("%H:%M:%S", date),
};

/** Value and width. */
const NUMBERS: Record<string, (date: Date) => [number, number]> = {
  __proto__: null as never,
  Y: (date) => [date.getFullYear(), 1],
  y: (date) => [date.getFullYear() % 100, 2],
  m: (date) => [date.getMonth() + 1, 2],
  d: (date) => [date.getDate(), 2],
  H: (date) => [date.getHours(), 2],
  I: (date) => [date.getHours() % 12 || 12, 2],
  M: (date) => [date.getMinutes(), 2],
  S: (date) => [date.getSeconds(), 2],
  j: (date) => [dayOfYear(date), 3],
};

function dayOfYear(date: Date): number {
  const day = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return (day - Date.UTC(date.getFullYear(), 0, 1)) / 86_400_000 + 1;
}
