/**
 * The Cycles client for Effect: hard runtime budgets for agents, as scoped resources.
 *
 * Start with `Cycles`. What needs Node, undici, SQLite and files, is in `effect-cycles/node`.
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
export * as Reservation from "./Reservation.ts"
export * as Settlement from "./Settlement.ts"
export * as SettlementJournal from "./SettlementJournal.ts"
export * as Subject from "./Subject.ts"
export * as Telemetry from "./Telemetry.ts"
