/**
 * The Cycles client for Effect: hard budgets for calls that cost money.
 *
 * Start with `Cycles`. The parts that need Node, such as the transport over undici and the journals in SQLite and
 * files, are in `effect-cycles/node`.
 *
 * @since 0.1.0
 */
export * as Amount from "@effect-cycles/protocol/Amount"
export * as Balance from "@effect-cycles/protocol/Balance"
export * as Caps from "@effect-cycles/protocol/Caps"
export * as Decision from "@effect-cycles/protocol/Decision"
export * as Evidence from "@effect-cycles/protocol/Evidence"
export * as Identifiers from "@effect-cycles/protocol/Identifiers"
export * as Limits from "@effect-cycles/protocol/Limits"
export * as Metrics from "@effect-cycles/protocol/Metrics"
export * as Cycles from "./Cycles.ts"
export * as CyclesClient from "./CyclesClient.ts"
export * as CyclesConfig from "./CyclesConfig.ts"
export * as CyclesError from "./CyclesError.ts"
export * as CyclesTransport from "./CyclesTransport.ts"
export * as Heartbeat from "./Heartbeat.ts"
export * as Pool from "./Pool.ts"
export * as Reservation from "./Reservation.ts"
export * as Run from "./Run.ts"
export * as RunLimits from "./RunLimits.ts"
export * as Settlement from "./Settlement.ts"
export * as SettlementJournal from "./SettlementJournal.ts"
export * as Subject from "./Subject.ts"
export * as Telemetry from "./Telemetry.ts"
