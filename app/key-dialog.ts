/** Asks for a provider's key. The key goes to whoever asked and is kept nowhere here. */
import { element } from "./element.ts";

/**
 * @param refused whether the reason is that the last one was not accepted
 * @returns the key; undefined where the user gives none
 */
export function askForKey(reason: string, refused: boolean): Promise<string | undefined> {
  const dialog = element<HTMLDialogElement>("key-dialog");
  const key = element<HTMLInputElement>("key");
  element("key-reason").textContent = reason;
  element("key-reason").classList.toggle("failure", refused);
  dialog.returnValue = "";
  key.value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      const token = key.value.trim();
      key.value = "";
      resolve(dialog.returnValue === "connect" && token !== "" ? token : undefined);
    };
  });
}
