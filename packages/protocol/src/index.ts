/**
 * The Cycles protocol for Effect: schemas, exact amounts, the table of operations, and the `HttpApi` derived from it.
 *
 * @see https://github.com/runcycles/cycles-protocol
 * @since 0.1.0
 */
export * as Action from "./Action.ts"
export * as Amount from "./Amount.ts"
export * as Balance from "./Balance.ts"
export * as Caps from "./Caps.ts"
export * as Compiler from "./Compiler.ts"
export * as CyclesApi from "./CyclesApi.ts"
export * as CyclesTransport from "./CyclesTransport.ts"
export * as Decision from "./Decision.ts"
export * as ErrorResponse from "./ErrorResponse.ts"
export * as Event from "./Event.ts"
export * as Evidence from "./Evidence.ts"
export * as Headers from "./Headers.ts"
export * as Identifiers from "./Identifiers.ts"
export * as InvalidInput from "./InvalidInput.ts"
export * as Json from "./Json.ts"
export * as Limits from "./Limits.ts"
export * as Metrics from "./Metrics.ts"
export * as Operations from "./Operations.ts"
export * as RequestDecoder from "./RequestDecoder.ts"
export * as Reservation from "./Reservation.ts"
export * as Subject from "./Subject.ts"
