/**
 * Writes the sources of the packages as JavaScript, because Node would otherwise remove their types on each import. The
 * size and the module graph are those of the published files.
 */
import { globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { stripTypeScriptTypes } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const packages = fileURLToPath(new URL("../../../", import.meta.url))

const names = { client: "effect-cycles", protocol: "@effect-cycles/protocol" }

/** Writes `node_modules` with the client, the protocol and their dependencies into a folder. */
export const write = (folder: string): void => {
  for (const [directory, name] of Object.entries(names)) {
    const to = join(folder, "node_modules", name)
    const from = join(packages, directory, "src")
    for (const file of globSync("**/*.ts", { cwd: from })) {
      const target = join(to, file.replace(/\.ts$/, ".js"))
      mkdirSync(dirname(target), { recursive: true })
      const code = stripTypeScriptTypes(readFileSync(join(from, file), "utf8"))
      writeFileSync(target, code.replaceAll(/(from "\.[^"]*)\.ts"/g, '$1.js"'))
    }
    const exports = { ".": "./index.js", "./node": "./node/index.js", "./*": "./*.js" }
    writeFileSync(join(to, "package.json"), JSON.stringify({ name, type: "module", sideEffects: false, exports }))
  }
  for (const dependency of ["effect", "undici"]) {
    symlinkSync(join(packages, "client", "node_modules", dependency), join(folder, "node_modules", dependency))
  }
}
