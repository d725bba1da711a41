/** One attempt of a reserve. */
import type { ReservationCreateResponse } from "@effect-cycles/protocol/Reservation"
import * as Effect from "effect/Effect"
import type { CyclesError } from "../../CyclesError.ts"
import { ProtocolError } from "../../CyclesError.ts"
import * as Operations from "../protocol/operations.ts"
import type { Engine } from "../reservation/engine.ts"
import type { Prepared } from "../reservation/options.ts"
import type { Priority } from "../transport/bulkhead.ts"
import type { WithMeta } from "../transport/call.ts"

/** The response to a reserve. */
export type Response = WithMeta<ReservationCreateResponse>

/** Sends the request once. */
export const send = (engine: Engine, prepared: Prepared, priority: Priority): Effect.Effect<Response, CyclesError> =>
  Effect.filterOrFail(
    engine.sender.send(
      Operations.reserve(
        prepared.body,
        { action: prepared.action, requested: prepared.estimate, scopes: prepared.scopes },
        priority,
        prepared.progress
      )
    ),
    (response) => response.reservationId !== undefined || response.decision === "DENY" || prepared.isDryRun,
    withoutId
  )

/** The error of a response that allows the call, and has no reservation. */
export const withoutId = (response: Response): ProtocolError =>
  new ProtocolError({
    operation: "reserve",
    status: 200,
    problem: `the decision ${response.decision} has no reservation_id`,
    requestId: response.meta.requestId
  })
