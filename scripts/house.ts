/**
 * House rules that the linter can't check: the direction of imports, import cycles, names of modules, and forbidden
 * text.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { basename, dirname, join, relative } from "node:path"
import { phraseProblems } from "./phrases.ts"

/** The packages that a package may import. */
const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  protocol: [],
  client: ["@effect-cycles/protocol"],
  server: ["@effect-cycles/protocol"],
  ai: ["@effect-cycles/protocol", "effect-cycles"],
  testing: ["@effect-cycles/protocol", "@effect-cycles/server", "effect-cycles"],
  bench: ["@effect-cycles/ai", "@effect-cycles/protocol", "@effect-cycles/server", "effect-cycles"]
}

/**
 * The layers of the client, from the top down; a layer imports only itself and the layers below. Public modules that
 * aren't named in `services` are models. `config` has plain values that don't depend on the client, so models may
 * import it.
 */
const layers = [
  "services",
  "guard",
  "settlement",
  "reservation",
  "run",
  "lease",
  "runtime",
  "protocol",
  "transport",
  "models",
  "config"
] as const

const services: ReadonlySet<string> = new Set([
  "Cycles",
  "CyclesClient",
  "CyclesTransport",
  "Pool",
  "Run",
  "RunLimits",
  "index"
])

/** The index of the layer of a client file, by its path below `src`. Files of the Node entry point have no layer. */
const layerOf = (path: string): number | undefined => {
  const [first = "", folder = ""] = path.split("/")
  if (first === "node") return undefined
  const isService = first === "workflow" || services.has(basename(first, ".ts"))
  const name = first === "internal" ? folder : isService ? "services" : "models"
  const index = layers.findIndex((layer) => layer === name)
  return index < 0 ? undefined : index
}

/**
 * Whether a client file belongs to the program `effect-cycles`: the layer above the services, which no library file
 * imports.
 */
const isProgram = (path: string): boolean => path === "node/bin.ts" || path.startsWith("node/internal/cli/")

/** The problem, if any, of an import between two files of the client. Paths are below `src`. */
const layerProblem = (from: string, to: string): string | undefined => {
  if (isProgram(to) && !isProgram(from)) return `imports ${to}, which belongs to the program effect-cycles`
  if (from.startsWith("node/")) {
    const isInternal = to.startsWith("internal/") && !to.startsWith("internal/config/")
    return isInternal ? `the Node entry point must not import ${to}` : undefined
  }
  if (to.startsWith("node/")) return `imports ${to}, which only Node has`
  const [above, below] = [layerOf(from), layerOf(to)]
  if (above === undefined || below === undefined) return `${from} or ${to} is in no layer`
  return below < above ? `the layer ${layers[above]} must not import ${layers[below]} (${to})` : undefined
}

/** The problems of a file, by its path and text. */
const problemsOf = (path: string, text: string): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const [, name = "", part, ...rest] = path.split("/")
  if (path.startsWith("packages/") && part === "src" && path.endsWith(".ts")) {
    const file = basename(path, ".ts")
    const isInternal = rest.includes("internal") || rest.includes("bin") || file === "bin" || file === "main"
    if (!isInternal && file !== "index" && !/^[A-Z][A-Za-z0-9]*$/.test(file)) {
      problems.push("a public module is named in PascalCase")
    }
    for (const target of importsOf(text)) {
      if (target.endsWith("/index.ts")) problems.push(`imports the barrel ${target}`)
      if (
        /^effect\/(cli|http|http-api|ai|persistence|testing|crypto|observability)$/.test(target) ||
        target === "effect"
      ) {
        problems.push(`imports the barrel ${target}`)
      }
      if (name === "client" && target.startsWith(".")) {
        const from = relative("packages/client/src", path)
        const problem = layerProblem(from, join(dirname(from), target))
        if (problem !== undefined) problems.push(problem)
      }
      if (name === "client" && target.startsWith("effect/cli/") && !isProgram(relative("packages/client/src", path))) {
        problems.push(`imports ${target}, which only the program effect-cycles may import`)
      }
      const other = /^(@effect-cycles\/[a-z]+|effect-cycles)(\/|$)/.exec(target)?.[1]
      if (other !== undefined && allowed[name] !== undefined && !allowed[name].includes(other)) {
        problems.push(`${name} must not import ${other}`)
      }
      if (other !== undefined && target === other) problems.push(`imports the barrel ${target}`)
      if ((name === "protocol" || (name === "client" && !rest.includes("node"))) && target.startsWith("node:")) {
        problems.push(`imports ${target}, which only Node has`)
      }
    }
    if (/\bas any\b|as unknown as|@ts-ignore|@ts-nocheck/.test(text)) problems.push("silences the compiler")
  }
  if (hasPhraseCheck(path)) problems.push(...phraseProblems(withoutTableName(path, text)))
  if (/(^|[^a-zA-Z0-9_.-])\/(work|farm|root)\//.test(text)) problems.push("names a path of a machine")
  if (path.endsWith(".md")) {
    for (const [, target = ""] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      if (!existsSync(join(dirname(path), target))) problems.push(`links to ${target}, which doesn't exist`)
    }
  }
  if (basename(path) === "pnpm-lock.yaml" && /tarball: *https?:/.test(text)) problems.push("has download addresses")
  return problems
}

/** Whether the phrases of a file are checked: sources and tests of every package, except recorded texts of servers. */
const hasPhraseCheck = (path: string): boolean =>
  /^packages\/[a-z]+\/(src|test)\/.*\.ts$/.test(path) && !path.includes("/fixtures/")

/** Old data files of the server have a table `answers`. */
const withoutTableName = (path: string, text: string): string =>
  path === "packages/server/src/internal/migrations.ts" ? text.replaceAll("answers", "") : text

const importsOf = (text: string): ReadonlyArray<string> =>
  Array.from(
    text.matchAll(/(?:^(?:import|export|\}).*from |^import |\bimport\()"([^"]+)"/gm),
    ([, target = ""]) => target
  )

/** The import cycles within packages, type imports included. Each is the list of its files. */
const cyclesOf = (files: ReadonlyMap<string, string>): ReadonlyArray<string> => {
  const state = new Map<string, "open" | "done">()
  const cycles: Array<string> = []
  const visit = (path: string, trail: ReadonlyArray<string>): void => {
    if (state.get(path) === "done") return
    if (state.get(path) === "open") {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "))
      return
    }
    state.set(path, "open")
    for (const target of importsOf(files.get(path) ?? "")) {
      const next = join(dirname(path), target)
      if (target.startsWith(".") && files.has(next)) visit(next, [...trail, path])
    }
    state.set(path, "done")
  }
  for (const path of files.keys()) visit(path, [])
  return cycles
}

/** Returns whether every file of the repository follows the rules. */
export const checkHouse = (): boolean => {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" })
    .split("\n")
    .filter((path) => /\.(ts|md|json|yaml)$/.test(path) && existsSync(path) && !path.startsWith("scripts/"))
  const problems = files.flatMap((path) =>
    problemsOf(path, readFileSync(path, "utf8")).map((problem) => `${path}: ${problem}`)
  )
  const sources = files.filter((path) => /^packages\/[a-z]+\/src\/.*\.ts$/.test(path))
  const cycles = cyclesOf(new Map(sources.map((path) => [path, readFileSync(path, "utf8")])))
  problems.push(...cycles.map((cycle) => `import cycle: ${cycle}`))
  for (const problem of problems) console.error(problem)
  return problems.length === 0
}
