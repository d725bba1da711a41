/**
 * Lists of reservations and balances: filters, order and cursors.
 */
import { describe, expect, it } from "@effect/vitest"
import type { TestResponse } from "./support/testServer.ts"
import { columnOf, makeTestServer, reserve } from "./support/testServer.ts"

const agent = { agent: "a" }

const amountsOf = (response: TestResponse): ReadonlyArray<unknown> =>
  columnOf(response, "reservations", "reserved").map((amount) => Object(amount).amount)

describe("queries", () => {
  describe("getBalances", () => {
    it("accepts every spelling of a boolean parameter that the reference server accepts", () => {
      const server = makeTestServer()
      const status = (word: string) => server.request(`balances?tenant=acme&include_children=${word}`).status
      expect(["true", "NO", "1", "off", ""].map(status)).toEqual([200, 200, 200, 200, 200])
      expect(["maybe", "2"].map(status)).toEqual([400, 400])
    })
  })

  describe("listReservations", () => {
    it("continues a filtered and sorted list at its cursor while rows leave the filter", () => {
      const server = makeTestServer()
      const ids = [5, 3, 5, 1, 4].map((amount) => reserve(server, amount, undefined, agent))
      reserve(server, 9)
      const query = "reservations?agent=A&status=ACTIVE&sort_by=reserved&sort_dir=desc&limit=2"
      const page = (cursor: unknown) =>
        server.request(`${query}${cursor === undefined ? "" : `&cursor=${String(cursor)}`}`)
      const first = page(undefined)
      expect(amountsOf(first)).toEqual([5, 5])
      // A row after the cursor is released and leaves the filter.
      server.request(`reservations/${ids[4]}/release`, { idempotency_key: "r" })
      const cursor = String(first.body["next_cursor"])
      const second = page(cursor)
      expect([amountsOf(second), second.body["has_more"], second.body["next_cursor"]]).toEqual([[3, 1], false, null])
      expect(server.request(`${query.replace("desc", "asc")}&cursor=${cursor}`).status).toBe(400)
      expect(server.request(`${query.replace("ACTIVE", "RELEASED")}&cursor=${cursor}`).status).toBe(400)
    })

    it("sorts rows with equal keys by ascending id in both directions and across pages", () => {
      const server = makeTestServer()
      const ids = Array.from({ length: 5 }, () => reserve(server, 7)).toSorted()
      for (const direction of ["asc", "desc"]) {
        const query = `reservations?sort_by=reserved&sort_dir=${direction}&limit=2`
        const seen: Array<unknown> = []
        for (let cursor: unknown = ""; cursor !== null;) {
          const response = server.request(`${query}&cursor=${String(cursor)}`)
          seen.push(...columnOf(response, "reservations", "reservation_id"))
          cursor = response.body["next_cursor"]
        }
        expect(seen).toEqual(ids)
      }
    })

    it("takes a missing sort field or direction from the cursor", () => {
      const server = makeTestServer()
      for (const amount of [1, 2, 3, 4]) reserve(server, amount)
      const amounts = (query: string) => amountsOf(server.request(query))
      const { next_cursor } = server.request("reservations?sort_by=reserved&sort_dir=asc&limit=2").body
      const at = `cursor=${String(next_cursor)}`
      expect(amounts(`reservations?${at}`)).toEqual([3, 4])
      expect(amounts(`reservations?sort_by=reserved&${at}`)).toEqual([3, 4])
      expect(amounts(`reservations?sort_dir=asc&${at}`)).toEqual([3, 4])
      expect(server.request(`reservations?sort_dir=desc&${at}`).status).toBe(400)
      expect(server.request(`reservations?sort_by=created_at_ms&${at}`).status).toBe(400)
    })

    it("allows other filters with the cursor of an unsorted list, and rejects that cursor in a sorted list", () => {
      const server = makeTestServer()
      reserve(server, 1)
      const released = reserve(server, 2)
      reserve(server, 3)
      server.request(`reservations/${released}/release`, { idempotency_key: "r" })
      const cursor = String(server.request("reservations?limit=1").body["next_cursor"])
      expect(server.request(`reservations?status=ACTIVE&cursor=${cursor}`).status).toBe(200)
      expect(server.request(`reservations?sort_by=created_at_ms&cursor=${cursor}`).status).toBe(400)
      expect(server.request("reservations?sort_dir=asc&cursor=0").status).toBe(400)
    })

    it("compares time windows of a cursor by instant, whatever the zone", () => {
      const server = makeTestServer()
      reserve(server, 1)
      reserve(server, 2)
      const page = (from: string, cursor = "") =>
        server.request(`reservations?sort_dir=asc&limit=1&from=${encodeURIComponent(from)}&cursor=${cursor}`)
      const cursor = String(page("2023-01-01T00:00:00Z").body["next_cursor"])
      expect(page("2023-01-01T01:00:00+01:00", cursor).status).toBe(200)
      expect(page("2023-01-01T01:00:00Z", cursor).status).toBe(400)
      for (const from of ["2023-02-30T00:00:00Z", "2023-01-01T00:00Z", "2023-01-01T00:00:00+0100"]) {
        expect(page(from).status).toBe(400)
      }
    })

    it("continues after the row of its cursor has left the filter", () => {
      const server = makeTestServer()
      const ids = [1, 2, 3, 4].map((amount) => reserve(server, amount))
      const query = "reservations?status=ACTIVE&sort_by=reserved&sort_dir=asc&limit=2"
      const first = server.request(query).body
      server.request(`reservations/${ids[1]}/release`, { idempotency_key: "r" })
      expect(amountsOf(server.request(`${query}&cursor=${String(first["next_cursor"])}`))).toEqual([3, 4])
    })
  })
})
