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
      ["_effect-cycles_ai", "ai/src"],
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
    const textOf = (name: string): string =>
      readFileSync(join(folder, name), "utf8")
        .replaceAll(/<[^>]*>/g, "")
        .replaceAll("&quot;", '"')
        .replaceAll(/\s+/g, " ")
    expect(textOf("modules/effect-cycles_Cycles.html")).toContain(
      'import { Cycles } from "effect-cycles" // or: import * as Cycles from "effect-cycles/Cycles"'
    )
    expect(textOf("modules/effect-cycles_node_NodeCycles.html")).toContain(
      'import { NodeCycles } from "effect-cycles/node"'
    )
    const guard = readFileSync(join(folder, "functions/effect-cycles_Cycles.withCycles.html"), "utf8")
    expect(guard).toMatch(/href="https:\/\/github\.com\/[^"]*\/blob\/main\/packages\/client\/src\/Cycles\.ts#L\d+"/)
    expect(guard.split("Guards an effect: reserves the").length - 1).toBe(1)
    const openApi: { readonly paths: Record<string, Record<string, { readonly summary?: string }>> } = JSON.parse(
      readFileSync(join(folder, "openapi.json"), "utf8")
    )
    expect(openApi.paths["/v1/reservations/{reservation_id}/commit"]?.["post"]?.summary).toBe(
      "Commits the actual amount of a reservation and returns the rest to its budgets"
    )
    for (const operation of Object.values(openApi.paths).flatMap(Object.values)) expect(operation.summary).toMatch(/./)
  })
})
