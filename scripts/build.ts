/**
 * `pnpm build`: dist with declarations, then what would be published is packed, linted, and used by a stranger: every entry
 * point is type-checked under `strict` with `skipLibCheck: false`, and imported by Node.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"

interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

const manifestOf = (name: string): Manifest => JSON.parse(readFileSync(`packages/${name}/package.json`, "utf8"))

const packages = readdirSync("packages").filter((name) => manifestOf(name).private !== true)

const run = (command: string, args: ReadonlyArray<string>, cwd?: string): void => {
  const { status } = spawnSync(command, args, { stdio: "inherit", cwd })
  if (status !== 0) {
    console.error(`FAIL ${command} ${args.join(" ")}`)
    process.exit(1)
  }
}

const bin = (name: string): string => resolve("node_modules/.bin", name)

/** The entry points of a package: its root and every public module. */
const entriesOf = (name: string): ReadonlyArray<string> => {
  const modules = (folder: string, prefix: string): ReadonlyArray<string> =>
    readdirSync(folder, { withFileTypes: true })
      .filter((file) => file.isFile() && /^[A-Z].*\.ts$/.test(file.name))
      .map((file) => `${prefix}${file.name.slice(0, -3)}`)
  const src = `packages/${name}/src`
  const hasNode = readdirSync(src).includes("node")
  return [".", ...modules(src, "./"), ...(hasNode ? ["./node", ...modules(`${src}/node`, "./node/")] : [])]
}

const folder = mkdtempSync(join(tmpdir(), "effect-cycles-build-"))
try {
  for (const name of packages) {
    rmSync(`packages/${name}/dist`, { recursive: true, force: true })
    run(bin("tsc"), ["-p", `packages/${name}/tsconfig.build.json`])
  }
  const tarballs: Record<string, string> = {}
  for (const name of packages) {
    const output = execFileSync("pnpm", ["pack", "--json", "--pack-destination", folder], {
      cwd: `packages/${name}`,
      encoding: "utf8"
    })
    const packed: { readonly filename: string } = JSON.parse(output.slice(output.indexOf("{")))
    const tarball = resolve(folder, packed.filename)
    tarballs[manifestOf(name).name] = tarball
    run(bin("publint"), ["--strict", tarball])
    run(bin("attw"), [
      tarball,
      "--profile",
      "esm-only",
      "--format",
      "ascii",
      "--quiet",
      "--entrypoints",
      ...entriesOf(name)
    ])
    console.log(`ok   ${name}: ${entriesOf(name).length} entry points`)
  }

  const stranger = join(folder, "stranger")
  mkdirSync(stranger)
  const imports = packages.flatMap((name) => entriesOf(name).map((entry) => manifestOf(name).name + entry.slice(1)))
  const root: { readonly devDependencies: Readonly<Record<string, string>> } = JSON.parse(
    readFileSync("package.json", "utf8")
  )
  const version = (name: string): string => root.devDependencies[name] ?? "*"
  // Optional peers too: the entry points that need them are looked at as the others.
  const peers = Object.assign({}, ...packages.map((name) => manifestOf(name).peerDependencies ?? {}))
  writeFileSync(
    join(stranger, "package.json"),
    JSON.stringify({
      private: true,
      type: "module",
      dependencies: {
        ...Object.fromEntries(Object.entries(tarballs).map(([name, file]) => [name, `file:${file}`])),
        ...peers,
        effect: version("effect"),
        typescript: version("typescript"),
        "@types/node": version("@types/node")
      }
    })
  )
  writeFileSync(
    join(stranger, "pnpm-workspace.yaml"),
    `overrides:\n${Object.entries(tarballs)
      .map(([name, file]) => `  "${name}": "file:${file}"\n`)
      .join("")}`
  )
  writeFileSync(
    join(stranger, "use.ts"),
    imports.map((name, i) => `import * as m${i} from "${name}"\nconsole.log(Object.keys(m${i}).length)\n`).join("")
  )
  writeFileSync(
    join(stranger, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: {
        target: "ES2024",
        lib: ["ES2024", "DOM"],
        module: "NodeNext",
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        types: ["node"],
        outDir: "out"
      },
      include: ["use.ts"]
    })
  )
  run("pnpm", ["install", "--no-frozen-lockfile", "--silent"], stranger)
  run(join(stranger, "node_modules/.bin/tsc"), ["-p", "."], stranger)
  run(process.execPath, ["out/use.js"], stranger)
  console.log(`ok   a stranger uses ${imports.length} entry points`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
