/** Builds and packs the public packages. */
import { transformFileSync } from "@babel/core"
import { execFileSync, spawnSync } from "node:child_process"
import { globSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, resolve } from "node:path"

interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

const read = (path: string): Manifest => JSON.parse(readFileSync(path, "utf8"))

const manifestOf = (name: string): Manifest => read(`packages/${name}/package.json`)

/** The folders of the public packages. */
export const packages = readdirSync("packages").filter((name) => manifestOf(name).private !== true)

/** Runs a command. Throws if it fails. */
export const run = (command: string, args: ReadonlyArray<string>, cwd?: string): void => {
  const { error, status } = spawnSync(command, args, { stdio: "inherit", cwd })
  if (status !== 0) throw new Error(`FAIL ${command} ${args.join(" ")}`, { cause: error })
}

/** The path of a program that the workspace installs. */
export const bin = (name: string): string => resolve("node_modules/.bin", name)

/** The entry points of a package: its root and every public module. */
export const entriesOf = (name: string): ReadonlyArray<string> => {
  const modules = (folder: string, prefix: string): ReadonlyArray<string> =>
    readdirSync(folder, { withFileTypes: true })
      .filter((file) => file.isFile() && /^[A-Z].*\.ts$/.test(file.name))
      .map((file) => `${prefix}${file.name.slice(0, -3)}`)
  const src = `packages/${name}/src`
  const folders = readdirSync(src).filter((folder) => folder === "node" || folder === "workflow")
  return [
    ".",
    ...modules(src, "./"),
    ...folders.flatMap((folder) => [`./${folder}`, ...modules(`${src}/${folder}`, `./${folder}/`)])
  ]
}

/** Builds every package. */
export const build = (): void => {
  for (const name of packages) {
    rmSync(`packages/${name}/dist`, { recursive: true, force: true })
    run(bin("tsc"), ["-p", `packages/${name}/tsconfig.build.json`])
    for (const file of globSync(`packages/${name}/dist/**/*.js`)) annotatePureCalls(file)
  }
}

/**
 * Marks the calls that initialize constants as free of side effects, as in the packages of Effect. Otherwise a bundler
 * keeps every schema, service and operation of a module, including those that a program doesn't use.
 */
const annotatePureCalls = (file: string): void => {
  const result = transformFileSync(file, {
    plugins: ["annotate-pure-calls"],
    sourceMaps: true,
    configFile: false,
    babelrc: false,
    compact: false
  })
  if (!result?.code || !result.map) throw new Error(`${file} can't be annotated`)
  const map = `${file}.map`
  writeFileSync(file, `${result.code}\n//# sourceMappingURL=${basename(map)}\n`)
  writeFileSync(map, JSON.stringify(result.map))
}

/** Packs every built package into a folder. Returns the paths of the tarballs by the folders of their packages. */
export const packAll = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    packages.map((name) => {
      const output = execFileSync("pnpm", ["pack", "--json", "--pack-destination", folder], {
        cwd: `packages/${name}`,
        encoding: "utf8"
      })
      const packed: { readonly filename: string } = JSON.parse(output.slice(output.indexOf("{")))
      return [name, resolve(folder, packed.filename)]
    })
  )

/** The arguments of npm that install a project as a user would. */
export const npmInstall: ReadonlyArray<string> = ["install", "--no-audit", "--no-fund", "--loglevel=error"]

/** The dependencies of a project that uses the tarballs, by the names of their packages. */
export const dependenciesOf = (tarballs: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(tarballs).map(([name, file]) => [manifestOf(name).name, `file:${file}`]))

/** The entry points of all public packages, as a program imports them. */
export const imports: ReadonlyArray<string> = packages.flatMap((name) =>
  entriesOf(name).map((entry) => manifestOf(name).name + entry.slice(1))
)

/** The peers of the public packages, including optional ones. */
export const peers: Readonly<Record<string, string>> = Object.assign(
  {},
  ...packages.map((name) => manifestOf(name).peerDependencies ?? {})
)

const workspace = read("package.json")

/** The version of a package in the workspace. */
export const versionOf = (name: string): string => workspace.devDependencies?.[name] ?? "*"
