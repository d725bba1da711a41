/**
 * The parts of the client that need Node: the transport over undici, the durable journals, and the layer that combines
 * them.
 *
 * @since 0.1.0
 */
export * as JournalFiles from "./JournalFiles.ts"
export * as JournalSqlite from "./JournalSqlite.ts"
export * as NodeCycles from "./NodeCycles.ts"
export * as NodeTransport from "./NodeTransport.ts"
