/**
 * The API pages can be made, and no public module is left out.
 */
import { execFile } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, describe, expect, it } from "vitest"

const folder = mkdtempSync(join(tmpdir(), "effect-cycles-api-"))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("api-docs", () => {
  it("makes a page for every public module, and the OpenAPI document", async () => {
    await promisify(execFile)(process.execPath, [join(import.meta.dirname, "../api-docs.ts"), folder])
    const pages = readdirSync(join(folder, "modules"))
    for (const [name, path] of [
      ["effect-cycles", "client/src"],
      ["effect-cycles_node", "client/src/node"],
      ["_effect-cycles_protocol", "protocol/src"],
      ["_effect-cycles_server", "server/src"],
      ["_effect-cycles_testing", "testing/src"]
    ] as const) {
      const modules = readdirSync(join(import.meta.dirname, "../../packages", path)).filter((file) =>
        /^[A-Z]/.test(file)
      )
      expect(modules).not.toEqual([])
      expect(pages).toEqual(expect.arrayContaining(modules.map((file) => `${name}_${file.replace(/ts$/, "html")}`)))
    }
    const page = readFileSync(join(folder, "modules/effect-cycles_Cycles.html"), "utf8")
    expect(page).toContain("withCycles")
    expect(page).toContain("Hard budgets for calls that cost money")
    const openApi: { readonly paths: object } = JSON.parse(readFileSync(join(folder, "openapi.json"), "utf8"))
    expect(Object.keys(openApi.paths)).toContain("/v1/reservations/{reservation_id}/commit")
  })
})
