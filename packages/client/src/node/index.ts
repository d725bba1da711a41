/**
 * The parts of the client that need Node: the transport over undici, durable journals, and the Layer that combines them.
 */
export * as JournalFiles from "./JournalFiles.ts"
export * as JournalSqlite from "./JournalSqlite.ts"
export * as NodeCycles from "./NodeCycles.ts"
export * as NodeTransport from "./NodeTransport.ts"
