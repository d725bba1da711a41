import { describe, expect, it } from "@effect/vitest"
import { CyclesApi, Operations } from "@effect-cycles/protocol"

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
