/** Checks the program `effect-cycles` of the installed tarball against the server of the installed tarball. */
import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"

/** Runs the program in a project that has the packages installed. Throws if it doesn't work. */
export const checkProgram = (project: string): void => {
  writeFileSync(join(project, "program.js"), test)
  const { error, status } = spawnSync(process.execPath, ["program.js"], {
    cwd: project,
    stdio: "inherit",
    env: { PATH: process.env["PATH"], HOME: project, NODE_NO_WARNINGS: "1" }
  })
  if (status !== 0) throw new Error("FAIL the program effect-cycles", { cause: error })
  console.log("ok   the installed program effect-cycles checks the installed server")
}

const test = `
import * as NodeCyclesServer from "@effect-cycles/server/NodeCyclesServer"
import * as Effect from "effect/Effect"
import assert from "node:assert"
import { execFile } from "node:child_process"

const run = (args, env) => new Promise((resolve) =>
  execFile("node_modules/.bin/effect-cycles", args, { env: { ...process.env, ...env } }, (error, out, stderr) =>
    resolve({ code: error?.code ?? 0, out, stderr })))

const main = Effect.gen(function* () {
  const { url } = yield* NodeCyclesServer.make({ port: 0, adminKey: "admin" })
  const post = (path, body) => Effect.promise(async () => {
    const headers = { "x-admin-api-key": "admin", "content-type": "application/json" }
    const response = await fetch(url + "/v1/admin/" + path, { method: "POST", headers, body: JSON.stringify(body) })
    return response.json()
  })
  yield* post("tenants", { tenant_id: "acme", name: "acme" })
  const { key_secret } = yield* post("api-keys", { tenant_id: "acme", name: "test" })
  const unit = "TOKENS"
  yield* post("budgets", { tenant_id: "acme", scope: "tenant:acme", unit, allocated: { unit, amount: 5 } })
  const env = { CYCLES_BASE_URL: url, CYCLES_API_KEY: key_secret, CYCLES_TENANT: "acme" }
  yield* Effect.promise(async () => {
    assert.match((await run(["--version"])).out, /^effect-cycles v\\d/)
    const doctor = await run(["doctor", "--json"], env)
    assert.equal(doctor.code, 0, doctor.out + doctor.stderr)
    assert.equal(JSON.parse(doctor.out).ok, true)
    const wrong = await run(["doctor", "--tenant", "globex"], env)
    assert.equal(wrong.code, 1)
    assert.match(wrong.out, /CYCLES_TENANT is globex, but the key belongs to acme/)
    assert.match((await run(["balances"], env)).out, /tenant:acme +5 TOKENS/)
    assert.equal((await run(["nonsense"])).code, 2)
  })
})

await Effect.runPromise(Effect.scoped(main))
`
