/** The line over the question that says what is in the way, with what to do about it. */
import { element } from "./element.ts";

export interface Action {
  readonly label: string;
  readonly press: () => void;
}

export function showNotice(text: string, { label, press }: Action): void {
  element("notice-text").textContent = text;
  const button = element<HTMLButtonElement>("notice-action");
  button.textContent = label;
  button.onclick = press;
  element("notice").hidden = false;
}

export function hideNotice(): void {
  element("notice").hidden = true;
}
