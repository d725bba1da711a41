/**
 * The rules of the house that no linter knows: which way imports point, what may be imported, how modules are named, and what
 * must not be in a file.
 */
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"

/** What a package may import of the others. */
const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  protocol: [],
  client: ["@effect-cycles/protocol"],
  server: ["@effect-cycles/protocol"],
  ai: ["@effect-cycles/protocol", "effect-cycles"],
  bench: ["@effect-cycles/ai", "@effect-cycles/protocol", "@effect-cycles/server", "effect-cycles"]
}

/** The problems of a file of ours, by its path and text. */
export const problemsOf = (path: string, text: string): ReadonlyArray<string> => {
  const problems: Array<string> = []
  const [, name = "", part, ...rest] = path.split("/")
  if (path.startsWith("packages/") && part === "src" && path.endsWith(".ts")) {
    const file = basename(path, ".ts")
    const isInternal = rest.includes("internal") || rest.includes("bin") || file === "bin" || file === "main"
    if (!isInternal && file !== "index" && !/^[A-Z][A-Za-z0-9]*$/.test(file)) {
      problems.push("a public module is named in PascalCase")
    }
    for (const [, target = ""] of text.matchAll(/^(?:import|export|\}).*from "([^"]+)"/gm)) {
      if (target.endsWith("/index.ts")) problems.push(`imports the barrel ${target}`)
      if (/^effect\/(http|http-api|ai|persistence|testing|crypto|observability)$/.test(target) || target === "effect") {
        problems.push(`imports the barrel ${target}`)
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
  if (/(^|[^a-zA-Z0-9_.-])\/(work|farm|root)\//.test(text)) problems.push("names a path of a machine")
  if (path.endsWith(".md")) {
    for (const [, target = ""] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      if (!existsSync(join(dirname(path), target))) problems.push(`links to ${target}, which is not there`)
    }
  }
  if (path === "pnpm-lock.yaml" && /tarball: *https?:/.test(text)) problems.push("has download addresses")
  return problems
}

/** Whether every file that git knows keeps the rules. */
export const checkHouse = (): boolean => {
  const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" })
    .split("\n")
    .filter((path) => /\.(ts|md|json|yaml)$/.test(path) && existsSync(path) && !path.startsWith("scripts/"))
  const problems = files.flatMap((path) =>
    problemsOf(path, readFileSync(path, "utf8")).map((problem) => `${path}: ${problem}`)
  )
  for (const problem of problems) console.error(problem)
  return problems.length === 0
}
