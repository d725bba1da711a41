/**
 * `pnpm api-docs [FOLDER]` writes one page for each public module, and the OpenAPI document of the runtime plane, to the
 * folder, or to `docs/api`. It empties the folder first, and fails on any warning. It is in this package because typedoc
 * needs TypeScript 6.
 */
import * as CyclesApi from "@effect-cycles/protocol/CyclesApi"
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative, resolve } from "node:path"
import {
  Application,
  Comment,
  DeclarationReflection,
  OptionDefaults,
  ReflectionKind,
  type SignatureReflection
} from "typedoc"

const root = join(import.meta.dirname, "..")

/** The repository on the web, as the packages name it. */
const repository: string = JSON.parse(
  readFileSync(join(root, "packages/client/package.json"), "utf8")
).repository.url.replace(/^git\+(.*)\.git$/, "$1")

const out = resolve(process.argv[2] ?? join(import.meta.dirname, "api"))

/** The folders of public modules, with the names of their packages. */
const folders: ReadonlyArray<readonly [name: string, path: string]> = [
  ["effect-cycles", "packages/client/src"],
  ["effect-cycles/node", "packages/client/src/node"],
  ["effect-cycles/workflow", "packages/client/src/workflow"],
  ["@effect-cycles/ai", "packages/ai/src"],
  ["@effect-cycles/protocol", "packages/protocol/src"],
  ["@effect-cycles/server", "packages/server/src"],
  ["@effect-cycles/testing", "packages/testing/src"]
]

/** The files of all public modules, with the names for importing them. */
const modules: ReadonlyMap<string, string> = new Map(
  folders.flatMap(([name, path]) =>
    readdirSync(join(root, path))
      .filter((file) => /^[A-Z].*\.ts$/.test(file))
      .map((file) => [`${path}/${file}`, `${name}/${file.slice(0, -3)}`] as const)
  )
)

/** The comment at the top of a module. Typedoc ignores this comment if it has no tag. */
const purposeOf = (file: string): string => {
  const comment = /^\/\*\*\n([\s\S]*?)\n \*\//.exec(readFileSync(file, "utf8"))?.[1]
  if (comment === undefined) throw new Error(`${file} doesn't begin with a comment about its purpose`)
  return comment
    .replaceAll(/^ \* ?/gm, "")
    .replaceAll(/^@since .*$/gm, "")
    .replaceAll(/^@see /gm, "**See** ")
}

/** The code that imports a module. */
const importOf = (name: string): string => {
  const index = name.lastIndexOf("/")
  const [from, module] = [name.slice(0, index), name.slice(index + 1)]
  return `\`\`\`ts\nimport { ${module} } from "${from}" // or: import * as ${module} from "${name}"\n\`\`\`\n\n`
}

const textOf = ({ comment }: SignatureReflection): string | undefined =>
  comment?.summary.map(({ text }) => text).join("")

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })

const app = await Application.bootstrap({
  name: "effect-cycles",
  readme: join(root, "README.md"),
  entryPoints: Array.from(modules.keys(), (path) => join(root, path)),
  tsconfig: join(import.meta.dirname, "tsconfig.api.json"),
  basePath: root,
  excludeExternals: true,
  excludeInternal: true,
  excludePrivate: true,
  // Sources link to the branch, so that the pages don't change with each commit. Paths begin below `packages`.
  disableGit: true,
  sourceLinkTemplate: `${repository}/blob/main/packages/{path}#L{line}`,
  highlightLanguages: [...OptionDefaults.highlightLanguages, "mermaid"],
  blockTags: [...OptionDefaults.blockTags, "@effect-expect-leaking"],
  excludeTags: ["@effect-expect-leaking"],
  hideGenerator: true,
  navigation: { includeFolders: false }
})

const project = await app.convert()
if (project === undefined) process.exit(1)
for (const module of project.getChildrenByKind(ReflectionKind.Module)) {
  const file = project.getSymbolIdFromReflection(module)?.fileName
  const name = file === undefined ? undefined : modules.get(relative(root, file))
  if (file === undefined || name === undefined) throw new Error(`${module.name} is no module that can be imported`)
  module.name = name
  module.comment = new Comment([{ kind: "text", text: importOf(name) + purposeOf(file) }])
}

// The comment of a function with overloads stands once, under its first signature.
for (const reflection of project.getReflectionsByKind(ReflectionKind.FunctionOrMethod)) {
  const [first, ...others] = reflection instanceof DeclarationReflection ? (reflection.signatures ?? []) : []
  for (const other of others) {
    if (first !== undefined && textOf(other) === textOf(first)) delete other.comment
  }
}
await app.generateDocs(project, out)
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exit(1)

writeFileSync(join(out, "openapi.json"), `${JSON.stringify(CyclesApi.openApi(), null, 2)}\n`)
console.log(`${modules.size} modules, and openapi.json, in ${relative(process.cwd(), out)}`)
