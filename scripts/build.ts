/**
 * `pnpm build`: builds dist with declarations, packs the public packages and lints the tarballs, and installs them in a
 * separate project: every entry point is type-checked with `strict` and `skipLibCheck: false`, and imported by Node,
 * and the program `effect-cycles` runs. Finally it checks the size of a bundle.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseEnv } from "node:util"
import { checkBundle, esbuildVersion } from "./bundle.ts"
import { startDev } from "./dev.ts"
import { bin, build, dependenciesOf, entriesOf, imports, packAll, peers, run, versionOf } from "./pack.ts"
import { checkProgram } from "./program.ts"

/** Starts `dev`, sends a request with the printed configuration, and stops it. */
const checkDev = async (program: string): Promise<void> => {
  const { kill, printed, stop } = await startDev(program, ["--port", "0", "--admin-port", "0"])
  try {
    const { CYCLES_API_KEY: key = "", CYCLES_BASE_URL: url = "", CYCLES_TENANT: tenant = "" } = parseEnv(printed)
    const response = await fetch(`${url}/v1/balances?tenant=${tenant}`, { headers: { "x-cycles-api-key": key } })
    if (response.status !== 200)
      throw new Error(`FAIL cycles-server dev: GET /v1/balances is ${response.status}\n${printed}`)
    const code = await stop()
    if (code !== 0) throw new Error(`FAIL cycles-server dev: SIGTERM ends it with ${code}`)
  } finally {
    kill()
  }
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
  await checkDev(program)
  console.log("ok   cycles-server dev listens and prints the configuration of a client")
  if (!checkBundle(consumer)) process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
