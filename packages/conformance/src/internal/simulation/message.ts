/** The requests of the clients, in the terms of the checks. */
import type { TransportRequest } from "@effect-cycles/protocol/CyclesTransport"

/** A request, as the checks see it. */
export interface Message {
  readonly operation: "reserve" | "commit" | "release" | "extend" | "event" | "read" | "other"
  /** The reservation; `undefined` for a reserve, and for an event that replaces no commit. */
  readonly reservationId: string | undefined
  /** The idempotency key. */
  readonly key: string
  /** The call and the operation. */
  readonly identity: string
  readonly amount: number
  readonly body: string
  readonly summary: string
}

/** Describes a request. `callOf` returns the name of a reservation's call. */
export const messageOf = ({ body = "", method, url }: TransportRequest, callOf: (id: string) => string): Message => {
  const [, path = ""] = url.split("/v1/")
  const [collection = "", id = "", verb = ""] = (path.split("?")[0] ?? "").split("/")
  const key = /"idempotency_key":"([^"]*)"/.exec(body)?.[1] ?? ""
  const amount = Number(/"(?:actual|estimate)":\{[^}]*"amount":(\d+)/.exec(body)?.[1] ?? 0)
  const operation = operationOf(method, collection, id, verb)
  const about =
    operation === "event" ? /"recovered_reservation_id":"([^"]*)"/.exec(body)?.[1] : id === "" ? undefined : id
  const call = operation === "reserve" ? key : about === undefined ? key : callOf(about)
  return {
    operation,
    reservationId: about,
    key,
    identity: operation === "event" ? `${operation} ${key}` : `${operation} ${call}`,
    amount,
    body,
    summary: `${operation} ${about ?? ""}${amount > 0 || operation === "commit" ? ` ${amount}` : ""} key ${key}`
  }
}

const operationOf = (method: string, collection: string, id: string, verb: string): Message["operation"] => {
  if (collection === "events") return "event"
  if (collection !== "reservations") return "other"
  if (method === "GET") return "read"
  if (id === "") return "reserve"
  return verb === "commit" || verb === "release" || verb === "extend" ? verb : "other"
}
