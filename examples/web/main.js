// A page that asks a provider: base model, keys and encryption are in the worker, and nothing but ciphertext leaves it.
// docs/library.md, *In a browser*
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const [form, output] = [document.forms[0], document.getElementsByTagName("output")[0]];

form.onsubmit = (event) => {
  event.preventDefault();
  output.textContent = "";
  worker.postMessage(String(new FormData(form).get("prompt")));
};
worker.onmessage = ({ data: { text, end, error } }) => {
  output.textContent += text ?? error ?? "";
  if (end !== undefined || error !== undefined) output.dataset.end = end ?? "error";
};
