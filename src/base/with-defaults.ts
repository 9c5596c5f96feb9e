/** Options over their defaults. One that is given as undefined counts as not given. */
export function withDefaults<D extends object, G extends object>(defaults: D, given: G): D & G {
  const said = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(said) } as D & G;
}
