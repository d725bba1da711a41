/**
 * `pnpm runtimes [--only NAME]`: runs the packed packages on Node 22 and 24, Bun, Deno and workerd, in a folder outside
 * the workspace.
 *
 * Each runtime imports every entry point, runs `docs/examples/01_quickstart.ts`, and runs the quickstart of
 * `packages/conformance/src/internal/runtimes`, whose output must match. workerd, which has no files and no ports, runs
 * only the latter, over `fetch` and against an embedded server in the worker. Node 24 runs everything a second time
 * without undici.
 *
 * The names are node-22, node-24, bun, deno and workerd. A runtime that the registry doesn't have is skipped; any other
 * problem is a failure.
 */
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { journalLines, quickstartLines } from "../packages/conformance/src/internal/runtimes/expected.ts"
import { esbuildVersion } from "./bundle.ts"
import { build, dependenciesOf, imports, npmInstall, packAll, peers, versionOf } from "./pack.ts"

const programs = resolve("packages/conformance/src/internal/runtimes")
const examples = resolve("docs/examples")

// ---------------------------------------------------------------------------------------------------------------------
// runs
// ---------------------------------------------------------------------------------------------------------------------

interface Ran {
  readonly isOk: boolean
  readonly stdout: string
  readonly stderr: string
}

const execute = (command: string, args: ReadonlyArray<string>, cwd: string, env: NodeJS.ProcessEnv = {}): Ran => {
  const { error, status, stderr, stdout } = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    timeout: 120_000,
    env: { ...process.env, ...env }
  })
  return { isOk: status === 0, stdout: stdout ?? "", stderr: `${stderr ?? ""}${error?.message ?? ""}` }
}

let passed = 0
let failed = 0
let skipped = 0

const report = (name: string, problem: string | undefined, startedAt: number): void => {
  if (problem === undefined) passed += 1
  else failed += 1
  console.log(`${problem === undefined ? "ok  " : "FAIL"} ${name} (${Date.now() - startedAt} ms)`)
  if (problem !== undefined) console.error(problem)
}

/** Runs a program and compares its output. */
const check = (name: string, run: () => Ran, expected: (stdout: string) => string | undefined): void => {
  const startedAt = Date.now()
  const ran = run()
  const problem = ran.isOk ? expected(ran.stdout) : "the program failed"
  report(name, problem === undefined ? undefined : `${problem}\n${ran.stdout}\n${ran.stderr}`, startedAt)
}

const equals =
  (expected: string) =>
  (stdout: string): string | undefined =>
    stdout.trim() === expected.trim() ? undefined : `expected\n${expected}\ngot`

// ---------------------------------------------------------------------------------------------------------------------
// installing
// ---------------------------------------------------------------------------------------------------------------------

/**
 * Installs packages in a separate folder. Returns `undefined` if that fails, or if the registry doesn't have one of
 * them.
 */
const install = (name: string, dependencies: Readonly<Record<string, string>>): string | undefined => {
  const target = join(folder, name)
  mkdirSync(target)
  writeFileSync(join(target, "package.json"), JSON.stringify({ private: true, type: "module", dependencies }))
  const { isOk, stderr } = execute("npm", npmInstall, target)
  if (isOk) return target
  const missing = Object.entries(dependencies).find(
    ([name, range]) =>
      !range.startsWith("file:") &&
      execute("npm", ["view", `${name}@${range}`, "version"], target).stderr.includes("code E404")
  )
  if (missing === undefined) {
    report(`install ${name}`, stderr, Date.now())
  } else {
    skipped += 1
    console.log(`skip ${name}: the registry has no ${missing.join("@")}`)
  }
  return undefined
}

/** The tarballs as dependencies; empty until they are packed. */
let tarballs: Readonly<Record<string, string>> = {}

/** The peers without undici, which no entry point requires. */
const { undici: _, ...requiredPeers } = peers

/** Installs the tarballs as a user would, and copies the programs. */
const installApp = (name: string, more: Readonly<Record<string, string>>): string | undefined => {
  const platform = { "@effect/platform-node": versionOf("@effect/platform-node") }
  const target = install(name, { ...tarballs, ...requiredPeers, ...platform, effect: versionOf("effect"), ...more })
  if (target === undefined) return undefined
  cpSync(programs, join(target, "runtimes"), { recursive: true })
  cpSync(join(programs, "../temporaryFolder.ts"), join(target, "temporaryFolder.ts"))
  cpSync(examples, join(target, "examples"), { recursive: true })
  writeFileSync(
    join(target, "entries.js"),
    imports
      .map((entry, i) => `import * as m${i} from "${entry}"\nconsole.log("${entry}", Object.keys(m${i}).length > 0)\n`)
      .join("")
  )
  return target
}

// ---------------------------------------------------------------------------------------------------------------------
// expected output
// ---------------------------------------------------------------------------------------------------------------------

/** The entry points that don't need Node. */
const portable = imports.filter((entry) => !/\/node(\/|$)|^@effect-cycles\/(server|testing)/.test(entry))

const section = (title: string, lines: ReadonlyArray<string>): string =>
  [`${title}:`, ...lines.map((line) => `  ${line}`)].join("\n")

const local = [
  section("in process", quickstartLines),
  section("on a port", quickstartLines),
  section("SQLite journal", journalLines),
  section("files journal", journalLines)
].join("\n")

const imported = (list: ReadonlyArray<string>): string => list.map((entry) => `${entry} true`).join("\n")

const isDone = (stdout: string): string | undefined =>
  stdout.trimEnd().endsWith("Done.") ? undefined : "the quickstart did not end"

// ---------------------------------------------------------------------------------------------------------------------
// runtimes
// ---------------------------------------------------------------------------------------------------------------------

/** Runs all programs on a runtime that has ports and files. */
const checkLocal = (name: string, app: string, command: string, args: ReadonlyArray<string>, version: string): void => {
  const home = mkdtempSync(join(folder, "home-"))
  const env = { HOME: home, DENO_DIR: join(home, "deno"), DENO_NO_UPDATE_CHECK: "1", CYCLES_BASE_URL: undefined }
  const run = (file: string) => () => execute(command, [...args, file], app, env)
  check(`${name} ${version}: every entry point`, run("entries.js"), equals(imported(imports)))
  check(`${name} ${version}: docs/examples/01_quickstart.ts`, run("examples/01_quickstart.ts"), isDone)
  check(`${name} ${version}: quickstart and journals`, run("runtimes/local.ts"), equals(local))
}

const versionIn = (target: string, name: string): string =>
  JSON.parse(readFileSync(join(target, "node_modules", name, "package.json"), "utf8")).version

const binIn = (target: string, name: string): string => join(target, "node_modules/.bin", name)

const checkWorkerd = (app: string, target: string): void => {
  const version = versionIn(target, "workerd")
  const worker = (name: string, imports: string, result: string): string => {
    writeFileSync(
      join(app, `${name}.ts`),
      `${imports}\nexport default { fetch: async (_, env) => new Response(${result}) }\n`
    )
    return join(app, `${name}.ts`)
  }
  const sources = [
    worker("client", 'import { run } from "./runtimes/worker.ts"', '(await run(env)).join("\\n")'),
    worker(
      "node-embedded",
      'import { runPromise } from "effect/Effect"\nimport { embedded } from "./runtimes/embedded.ts"',
      '(await runPromise(embedded)).join("\\n")'
    ),
    worker(
      "entries",
      portable.map((entry, i) => `import * as m${i} from "${entry}"`).join("\n"),
      `[${portable.map((entry, i) => `"${entry} " + (Object.keys(m${i}).length > 0)`).join(", ")}].join("\\n")`
    )
  ]
  const bundled = execute(
    binIn(target, "esbuild"),
    [
      ...sources,
      "--bundle",
      "--format=esm",
      "--conditions=workerd,worker",
      "--external:node:*",
      `--outdir=${app}/workers`
    ],
    app
  )
  if (!bundled.isOk) return report("bundles for workerd", bundled.stderr, Date.now())
  const run = (name: string) => () =>
    execute(process.execPath, ["runtimes/workerd.ts", target, join(app, "workers", `${name}.js`)], app)
  check(`workerd ${version}: every portable entry point`, run("entries"), equals(imported(portable)))
  check(`workerd ${version}: quickstart over fetch`, run("client"), equals(quickstartLines.join("\n")))
  check(`workerd ${version}: quickstart in process`, run("node-embedded"), equals(quickstartLines.join("\n")))
}

const runtimes: Readonly<Record<string, (name: string, app: string) => void>> = {
  "node-22": (name, app) => {
    const target = install(name, { node: "22" })
    if (target !== undefined) checkLocal("Node", app, binIn(target, "node"), [], versionIn(target, "node"))
  },
  "node-24": (name, app) => {
    const target = install(name, { node: "24" })
    if (target === undefined) return
    checkLocal("Node", app, binIn(target, "node"), [], versionIn(target, "node"))
    const bare = installApp("bare", {})
    if (bare !== undefined)
      checkLocal("Node", bare, binIn(target, "node"), [], `${versionIn(target, "node")} without undici`)
  },
  bun: (name, app) => {
    const target = install(name, { bun: "1" })
    if (target !== undefined) checkLocal("Bun", app, binIn(target, "bun"), ["run"], versionIn(target, "bun"))
  },
  deno: (name, app) => {
    const target = install(name, { deno: "2" })
    if (target !== undefined) checkLocal("Deno", app, binIn(target, "deno"), ["run", "-A"], versionIn(target, "deno"))
  },
  workerd: (name, app) => {
    const target = install(name, { miniflare: "4", esbuild: esbuildVersion })
    if (target !== undefined) checkWorkerd(app, target)
  }
}

const { only } = parseArgs({ options: { only: { type: "string" } } }).values
if (only !== undefined && runtimes[only] === undefined) {
  console.error(`--only must be one of ${Object.keys(runtimes).join(", ")}, got ${only}`)
  process.exit(2)
}

const folder = mkdtempSync(join(tmpdir(), "effect-cycles-runtimes-"))
try {
  build()
  tarballs = dependenciesOf(packAll(folder))
  const app = installApp("app", { undici: versionOf("undici") })
  for (const [name, check] of Object.entries(runtimes)) {
    if (app !== undefined && (only === undefined || name === only)) check(name, app)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1
