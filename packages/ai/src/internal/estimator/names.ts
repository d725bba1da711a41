/**
 * Names of models, which can follow a provider, a region, a vendor or a path: `openrouter:anthropic/claude-sonnet-4.5`.
 */

/** Finds something by the name of a model in lower case, first without its provider, then from each part of the name. */
export const findByName = <A>(model: string, find: (name: string) => A | undefined): A | undefined => {
  const name = model.toLowerCase()
  for (const full of [name.slice(name.indexOf(":") + 1), name]) {
    for (const start of [0, ...Array.from(full.matchAll(/[:/.@]/g), (match) => match.index + 1)]) {
      const found = find(full.slice(start))
      if (found !== undefined) return found
    }
  }
  return undefined
}
