/**
 * The Cycles client for Effect: hard runtime budgets for agents, as scoped resources.
 *
 * Start with `Cycles`. What needs Node, undici, SQLite and files, is in `effect-cycles/node`.
 */
export { Amount, Balance, Caps, Decision, Evidence, Identifiers, Limits, Metrics } from "@effect-cycles/protocol"
export * as Cycles from "./Cycles.ts"
export * as CyclesClient from "./CyclesClient.ts"
export * as CyclesConfig from "./CyclesConfig.ts"
export * as CyclesError from "./CyclesError.ts"
export * as GuardOptions from "./GuardOptions.ts"
export * as Heartbeat from "./Heartbeat.ts"
export * as Reservation from "./Reservation.ts"
export * as Settlement from "./Settlement.ts"
export * as SettlementJournal from "./SettlementJournal.ts"
export * as Subject from "./Subject.ts"
export * as Telemetry from "./Telemetry.ts"
