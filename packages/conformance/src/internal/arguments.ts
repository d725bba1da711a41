/** The arguments of the programs: `--help` prints the usage, and wrong ones end the program with the usage and code 2. */

/** Parses the arguments of this process. A leading `--`, as in `pnpm simulate -- --seed 1`, is ignored. */
export const parsed = <A>(usage: string, parse: (args: Array<string>) => A): A => {
  const all = process.argv.slice(2)
  const args = all[0] === "--" ? all.slice(1) : all
  if (args.includes("--help") || args.includes("-h")) {
    console.log(usage)
    process.exit(0)
  }
  try {
    return parse(args)
  } catch (error) {
    return refuse(usage, error instanceof Error ? error.message : String(error))
  }
}

/** Ends the program, because its arguments are wrong. */
export const refuse = (usage: string, problem: string): never => {
  console.error(`${problem}\n\n${usage}`)
  process.exit(2)
}

/** Returns an integer from `least` up, or ends the program. */
export const integer = (usage: string, name: string, text: string, least: number): number => {
  const value = Number(text)
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value
  return refuse(usage, `--${name} must be an integer from ${least}, got ${text}`)
}

/** Returns a number above 0, or ends the program. */
export const positive = (usage: string, name: string, text: string): number => {
  const value = Number(text)
  if (value > 0 && Number.isFinite(value)) return value
  return refuse(usage, `--${name} must be a number above 0, got ${text}`)
}
