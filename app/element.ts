/** An element of index.html, which is there. */
export const element = <T extends Element = HTMLElement>(id: string): T =>
  document.getElementById(id) as unknown as T;
