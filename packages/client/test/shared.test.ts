/**
 * One reservation for several calls, without guards and without a server.
 */
import { describe, expect, it } from "@effect/vitest"
import type { Owner } from "../src/internal/reservation/shared.ts"
import { Shared } from "../src/internal/reservation/shared.ts"

class TestOwner implements Owner {
  recordedAmount = 0n
  grown = 0
  onDrawn(amount: bigint): void {
    this.recordedAmount += amount
  }
  onGrown(): void {
    this.grown += 1
  }
}

const make = (size: bigint) => new Shared(new TestOwner(), size)

const spent = (actual: bigint) => ({ actual, own: actual, isEstimated: false })

describe("Shared", () => {
  it("has room for the amount that is neither drawn, nor held by open calls, nor recorded by its owner", () => {
    const shared = make(500n)
    const first = shared.draw(100n, "a")
    const second = shared.draw(200n, "b")
    expect(shared.room).toBe(200n)
    expect(first.end(spent(60n))).toBe(true)
    expect(shared.room).toBe(240n)
    expect(second.end(spent(0n))).toBe(true)
    expect({ room: shared.room, drawn: shared.drawn, recorded: shared.owner.recordedAmount }).toEqual({
      room: 440n,
      drawn: 60n,
      recorded: 60n
    })
    shared.owner.recordedAmount = 300n
    expect(shared.room).toBe(200n)
  })

  it("holds known spend above the estimate of a call, and has no room left then", () => {
    const shared = make(100n)
    const draw = shared.draw(50n, "a")
    draw.grow(30n)
    expect({ known: shared.known, room: shared.room }).toEqual({ known: 30n, room: 50n })
    draw.grow(180n)
    expect({ known: shared.known, room: shared.room, grown: shared.owner.grown }).toEqual({
      known: 180n,
      room: -80n,
      grown: 2
    })
    draw.end(spent(180n))
    expect({ known: shared.known, room: shared.room }).toEqual({ known: 0n, room: -80n })
  })

  it("moves open calls to the reservation around it when it is closed", () => {
    const root = make(500n)
    const part = root.draw(100n, "part")
    const shared = make(100n)
    const draw = shared.draw(40n, "inner")
    draw.grow(10n)
    shared.close(root)
    part.end(spent(20n))
    expect({ room: root.room, known: root.known }).toEqual({ room: 440n, known: 10n })
    expect(draw.end(spent(30n))).toBe(true)
    expect(draw.add(5n)).toBe(true)
    expect({ room: root.room, drawn: root.drawn }).toEqual({ room: 445n, drawn: 55n })
    expect(Object.fromEntries(root.lines)).toEqual({
      part: { calls: 1, charged: 20n },
      inner: { calls: 1, charged: 35n }
    })
  })

  it("reports spend as late if no reservation is open", () => {
    const shared = make(100n)
    const draw = shared.draw(40n, "a")
    shared.close(undefined)
    expect(shared.room).toBe(-1n)
    expect(draw.end(spent(30n))).toBe(false)
    expect(draw.add(5n)).toBe(false)
    expect(shared.drawn).toBe(0n)
  })

  it("counts more than 32 actions as other", () => {
    const shared = make(1_000n)
    for (let i = 0; i < 40; i++) shared.draw(1n, `action ${i}`).end(spent(1n))
    expect(shared.lines.size).toBe(33)
    expect(shared.lines.get("other")).toEqual({ calls: 8, charged: 8n })
  })

  it("passes the keys of its calls to the reservation around it when it is closed", () => {
    const root = make(10n)
    const shared = make(10n)
    const call = { end: "COMMITTED" } as const
    shared.addKey("a", call)
    expect([shared.callOf("a"), root.callOf("a")]).toEqual([call, undefined])
    shared.close(root)
    expect(root.callOf("a")).toBe(call)
  })
})
