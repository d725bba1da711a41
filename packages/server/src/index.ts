/**
 * An embedded Cycles server: in process for tests, on a port for development and small deployments.
 */
export * as CyclesServer from "./CyclesServer.ts"
