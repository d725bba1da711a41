/**
 * `pnpm build`: builds dist with declarations, packs the public packages and lints the tarballs, and installs them in a separate
 * project: every entry point is type-checked with `strict` and `skipLibCheck: false`, and imported by Node, and the program
 * `effect-cycles` runs. Finally it checks the size of a bundle.
 */
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseEnv } from "node:util"
import { checkBundle, esbuildVersion } from "./bundle.ts"
import { bin, build, dependenciesOf, entriesOf, imports, packAll, peers, run, versionOf } from "./pack.ts"
import { checkProgram } from "./program.ts"

/** Starts `dev`, sends a request with what it printed, and stops it. */
const startsDev = async (program: string): Promise<void> => {
  const child = spawn(program, ["dev", "--port", "0", "--admin-port", "0"], { stdio: ["ignore", "pipe", "inherit"] })
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve))
  try {
    const printed = await new Promise<string>((resolve) => {
      let text = ""
      child.stdout.on("data", (chunk: Buffer) => {
        text += String(chunk)
        if (/^CYCLES_TENANT=/m.test(text)) resolve(text)
      })
      child.once("close", () => resolve(text))
    })
    const { CYCLES_API_KEY: key = "", CYCLES_BASE_URL: url = "", CYCLES_TENANT: tenant = "" } = parseEnv(printed)
    const response = await fetch(`${url}/v1/balances?tenant=${tenant}`, { headers: { "x-cycles-api-key": key } })
    if (response.status !== 200)
      throw new Error(`FAIL cycles-server dev: GET /v1/balances is ${response.status}\n${printed}`)
  } finally {
    child.kill("SIGTERM")
  }
  const code = await exited
  if (code !== 0) throw new Error(`FAIL cycles-server dev: SIGTERM ends it with ${code}`)
}

const folder = mkdtempSync(join(tmpdir(), "effect-cycles-build-"))
try {
  build()
  const tarballs = packAll(folder)
  for (const [name, tarball] of Object.entries(tarballs)) {
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

  const consumer = join(folder, "consumer")
  mkdirSync(consumer)
  const dependencies = dependenciesOf(tarballs)
  writeFileSync(
    join(consumer, "package.json"),
    JSON.stringify({
      private: true,
      type: "module",
      dependencies: {
        ...dependencies,
        // Optional peers too, because the entry points that need them are also checked.
        ...peers,
        effect: versionOf("effect"),
        esbuild: esbuildVersion,
        typescript: versionOf("typescript"),
        "@types/node": versionOf("@types/node")
      }
    })
  )
  writeFileSync(
    join(consumer, "pnpm-workspace.yaml"),
    // esbuild works without its install script.
    `allowBuilds:\n  esbuild: false\noverrides:\n${Object.entries(dependencies)
      .map(([name, file]) => `  "${name}": "${file}"\n`)
      .join("")}`
  )
  writeFileSync(
    join(consumer, "use.ts"),
    imports.map((name, i) => `import * as m${i} from "${name}"\nconsole.log(Object.keys(m${i}).length)\n`).join("")
  )
  writeFileSync(
    join(consumer, "tsconfig.json"),
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
  run("pnpm", ["install", "--no-frozen-lockfile", "--silent"], consumer)
  run(join(consumer, "node_modules/.bin/tsc"), ["-p", "."], consumer)
  run(process.execPath, ["out/use.js"], consumer)
  console.log(`ok   a separate project uses ${imports.length} entry points`)
  checkProgram(consumer)
  // The installed program, as `npx` runs it.
  const program = join(consumer, "node_modules/.bin/cycles-server")
  run(program, ["--version"], consumer)
  await startsDev(program)
  console.log("ok   cycles-server dev listens and prints the configuration of a client")
  if (!checkBundle(consumer)) process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
