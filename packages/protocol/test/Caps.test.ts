import { describe, expect, it } from "@effect/vitest"
import { Caps } from "@effect-cycles/protocol"

describe("Caps", () => {
  it.each([
    [{ toolAllowlist: ["a"], toolDenylist: ["a"] }, true, false],
    [{ toolAllowlist: [], toolDenylist: ["a"] }, false, true],
    [{ toolAllowlist: [], toolDenylist: [] }, true, true],
    [{}, true, true]
  ])("%j allows a: %s, b: %s", (caps, a, b) => {
    expect([Caps.isToolAllowed(caps, "a"), Caps.isToolAllowed("b")(caps)]).toEqual([a, b])
  })
})
