import { describe, expect, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { CyclesApi, Operations } from "@effect-cycles/protocol"

describe("Operations", () => {
  it("gives each operation its own name and route", () => {
    const operations = Object.entries(Operations.all)
    expect(operations.map(([, { name }]) => name)).toEqual(operations.map(([key]) => key))
    expect(Operations.names).toEqual(operations.map(([key]) => key))
    const routes = operations.map(([, { method, path }]) => `${method} ${path}`)
    expect(new Set(routes).size).toBe(routes.length)
  })

  it("declares a schema for exactly the parameters of each path", () => {
    for (const { name, params, path } of Object.values(Operations.all)) {
      const inPath = Array.from(path.matchAll(/:(\w+)/g), ([, param]) => param)
      expect([name, Object.keys(params)]).toEqual([name, inPath])
    }
  })

  describe("pathOf", () => {
    it.each([
      ["r-1", "r-1"],
      ["a/b?c#d%e f", "a%2Fb%3Fc%23d%25e%20f"],
      ["é😀", "%C3%A9%F0%9F%98%80"],
      ["...", "..."],
      ["$&$1", "%24%26%241"]
    ])("percent-encodes %j", (id, encoded) => {
      expect(Operations.commit.pathOf(id)).toEqual(Result.succeed(`/v1/reservations/${encoded}/commit`))
      expect(Operations.getReservation.pathOf(id)).toEqual(Result.succeed(`/v1/reservations/${encoded}`))
    })

    it.each([
      ["\ud800", "well-formed text, without a lone surrogate"],
      ["a\udfffb", "well-formed text, without a lone surrogate"],
      [".", 'neither "." nor ".."'],
      ["..", 'neither "." nor ".."'],
      ["", "1 to 128 characters"],
      ["x".repeat(129), "1 to 128 characters"],
      [undefined, "a string"]
    ])("fails for %j and never throws", (id, expected) => {
      for (const operation of [Operations.commit, Operations.release, Operations.extend, Operations.getReservation]) {
        expect(Result.getFailure(operation.pathOf(id))).toMatchObject({ value: { field: "reservationId", expected } })
      }
    })

    it("validates an evidence id, and takes no id if the path has no parameter", () => {
      const id = "ab".repeat(32)
      expect(Operations.getEvidence.pathOf(id)).toEqual(Result.succeed(`/v1/evidence/${id}`))
      expect(Result.getFailure(Operations.getEvidence.pathOf("abc"))).toMatchObject({
        value: { field: "evidenceId", expected: "64 hexadecimal digits", actual: '"abc"' }
      })
      expect(Operations.getJwks.pathOf()).toEqual(Result.succeed("/v1/.well-known/cycles-jwks.json"))
    })
  })

  describe("CyclesApi", () => {
    const { paths } = CyclesApi.openApi()
    const pathIn = (path: string) => path.replace(/:(\w+)/g, "{$1}")

    it("has exactly the operations of the table", () => {
      expect(
        Object.entries(paths)
          .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method} ${path}`))
          .toSorted()
      ).toEqual(
        Object.values(Operations.all)
          .map(({ method, path }) => `${method.toLowerCase()} ${pathIn(path)}`)
          .toSorted()
      )
    })

    it.each(Object.values(Operations.all))("documents the authentication, statuses and description of $name", (row) => {
      const operation = paths[pathIn(row.path)]?.[row.method === "GET" ? "get" : "post"]
      expect(operation?.operationId.split(".")[1]).toBe(row.name)
      expect(operation?.description).toBe(row.documentation)
      expect(Object.keys(operation?.responses ?? {}).map(Number)).toEqual([row.status, ...row.refusals])
      expect(operation?.security.flatMap((key) => Object.keys(key))).toEqual(
        { apiKey: ["apiKey"], apiKeyOrAdminKey: ["apiKey", "adminKey"], none: [] }[row.auth]
      )
    })
  })
})
