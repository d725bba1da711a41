/** The spend of a plan: its journal record, and the requests that charge it. */
import type { ReservationId } from "@effect-cycles/protocol/Identifiers"
import type * as Clock from "effect/Clock"
import { nowMs } from "../config/time.ts"
import * as Extras from "../protocol/extras.ts"
import * as Requests from "../protocol/requests.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Handle, Source } from "../reservation/handle.ts"
import { derived } from "../reservation/keys.ts"
import { Lifecycle } from "../reservation/lifecycle.ts"
import type { Account, Late } from "../reservation/source.ts"
import type { Spend } from "../runtime/outbox.ts"
import type * as Plan from "./plan.ts"

/** A source whose spend is charged. */
export type Charged = Exclude<Source, { readonly _tag: "Unreserved" }>

/** The spend of a plan, with the bodies of its requests. */
export const spendOf = (
  engine: Engine,
  handle: Handle,
  source: Charged,
  plan: Plan.Commit,
  clock: Clock.Clock
): Spend => {
  const { estimate, life, stem } = handle.call
  const spend: Requests.Spend = {
    key: derived("commit", source._tag === "Unreachable" ? source.stem : stem),
    actual: plan.actual,
    isEstimated: plan.isEstimated,
    extras: withLines(handle, plan.extras),
    latencyMs: nowMs(clock) - handle.startedAtMs
  }
  if (source._tag !== "Reservation") {
    return makeSpend(engine, handle, source.id, spend, clock, {
      mode: "event",
      eventBody: Requests.eventText(
        spend,
        reserveOf(handle),
        source._tag === "Joined"
          ? { reservationId: source.id, reason: "joined_after_settlement" }
          : { reservationId: undefined, reason: "reserve_unreachable" }
      ),
      makeEventBody: undefined,
      life: recoveringLife(engine),
      ticket: handle.ticket,
      estimate: undefined
    })
  }
  const makeEventBody = () =>
    Requests.eventText(spend, reserveOf(handle), {
      reservationId: source.id,
      reason: "commit_after_reservation_expired"
    })
  return makeSpend(engine, handle, source.id, spend, clock, {
    mode: "commit",
    eventBody: engine.outbox.isDurable ? makeEventBody() : undefined,
    makeEventBody,
    life,
    ticket: handle.ticket,
    estimate
  })
}

/** The lifecycle of spend that is charged by an event from the start. */
const recoveringLife = (engine: Engine): Lifecycle => {
  const life = new Lifecycle("pending", engine.observer)
  life.fire("expired")
  return life
}

/** Late spend: an event, because the commit of the reservation is already decided. */
export const lateSpendOf = (
  engine: Engine,
  handle: Handle,
  { id, stem }: Account,
  late: Late,
  clock: Clock.Clock
): Spend => {
  const spend: Requests.Spend = {
    key: derived(`late${late.ordinal}`, stem),
    actual: late.amount,
    isEstimated: false,
    extras: Extras.none,
    latencyMs: undefined
  }
  return makeSpend(engine, handle, id, spend, clock, {
    mode: "event",
    eventBody: Requests.eventText(spend, reserveOf(handle), {
      reservationId: handle.reservationId,
      reason: handle.source._tag === "Joined" ? "joined_after_settlement" : "recorded_after_settlement"
    }),
    makeEventBody: undefined,
    life: recoveringLife(engine),
    ticket: undefined,
    estimate: undefined
  })
}

/** The parts of the reserve that an event repeats. Without a reservation, the event itself needs the overage policy. */
const reserveOf = ({ call: { actionText, policies, subjectText }, source }: Handle) => ({
  subject: subjectText,
  action: actionText,
  overagePolicy: source._tag === "Unreachable" ? policies.overagePolicy : undefined
})

/** Adds the joined calls to the metadata, by action. */
const withLines = ({ lines }: Handle, extras: Extras.Extras): Extras.Extras => {
  if (lines === undefined || lines.size === 0) return extras
  const texts = Array.from(
    lines,
    ([action, { calls, charged }]) => `${JSON.stringify(action)}:{"calls":${calls},"actual":${charged}}`
  )
  return Extras.merge({ metrics: {}, metadata: { joined_calls: `{${texts.join(",")}}` } }, extras)
}

const makeSpend = (
  engine: Engine,
  { call }: Handle,
  reservationId: ReservationId,
  spend: Requests.Spend,
  clock: Clock.Clock,
  {
    eventBody,
    mode,
    ...rest
  }: Pick<Spend, "makeEventBody" | "life" | "ticket" | "estimate"> & Pick<Spend["record"], "mode" | "eventBody">
): Spend => ({
  ...rest,
  record: {
    reservationId,
    baseUrl: engine.config.baseUrl,
    mode,
    commitBody: Requests.commitText(spend),
    eventBody,
    recordedAtMs: engine.sender.serverTime(clock.currentTimeMillisUnsafe()),
    notBeforeMs: 0
  },
  actual: spend.actual,
  isEstimated: spend.isEstimated,
  subject: call.subject,
  action: call.action,
  isJournaled: false,
  isActive: true,
  holds: 0
})
