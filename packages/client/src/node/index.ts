/**
 * What of the client needs Node: the way over undici, durable journals, and the Layer that puts all of it together.
 */
export * as JournalFiles from "./JournalFiles.ts"
export * as JournalSqlite from "./JournalSqlite.ts"
export * as NodeCycles from "./NodeCycles.ts"
export * as UndiciHttpClient from "./UndiciHttpClient.ts"
