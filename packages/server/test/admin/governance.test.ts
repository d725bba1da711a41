/**
 * The guide lists exactly the operations of the governance file that the server lacks.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { join } from "node:path"
import * as Handler from "../../src/internal/handler.ts"
import { makeTestServer } from "../support/testServer.ts"

const root = join(import.meta.dirname, "../../../..")
const spec = join(root, "../shared/spec/cycles-governance-admin-v0.1.25.yaml")
const isThere = Fs.existsSync(spec)
if (!isThere) console.warn(`Skipped: there is no ${spec}, so the guide can't be compared with the governance file`)

/** The operations of the file, such as `GET /v1/admin/tenants`. */
const operationsOf = (yaml: string): ReadonlyArray<string> => {
  const operations: Array<string> = []
  let path = ""
  for (const line of yaml.split("\n")) {
    path = /^ {2}(\/v1\/\S+):$/.exec(line)?.[1] ?? path
    const method = /^ {4}(get|post|put|patch|delete):$/.exec(line)?.[1]
    if (method !== undefined) operations.push(`${method.toUpperCase()} ${path}`)
  }
  return operations
}

/** The operations of the table below a heading of the guide. */
const listed = (guide: string, heading: string): ReadonlyArray<string> => {
  const section = guide.split(`### ${heading}\n`)[1]?.split("\n#")[0] ?? ""
  return Array.from(section.matchAll(/^\| (`.+?`) +\| (.+?) +\|$/gm)).flatMap(([, paths = "", methods = ""]) =>
    Array.from(paths.matchAll(/`([^`]+)`/g)).flatMap(([, path]) =>
      methods.split(", ").map((method) => `${method} ${path}`)
    )
  )
}

describe("the guide", () => {
  it.skipIf(!isThere)("lists every operation of the governance file that the server lacks", () => {
    const server = makeTestServer()
    const operations = operationsOf(Fs.readFileSync(spec, "utf8"))
    expect(operations.length).toBeGreaterThan(40)
    const missing = operations.filter((operation) => {
      const [method = "", path = ""] = operation.split(" ")
      const response = Handler.handle(
        server.internals,
        "admin",
        {
          method,
          url: path.replaceAll(/\{\w+\}/g, "x"),
          headers: { "x-admin-api-key": "K", "content-type": "application/json" },
          body: "{}"
        },
        server.nowMs
      )
      return response.status === 405 || (response.status === 404 && response.body.includes("There is no "))
    })
    const guide = Fs.readFileSync(join(root, "docs/guide/07-embedded-server.md"), "utf8")
    expect(listed(guide, "What is not there").toSorted()).toEqual(missing.toSorted())
  })
})
