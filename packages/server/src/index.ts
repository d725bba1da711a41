/**
 * An embedded Cycles server: in process for tests (`CyclesServer`), on a port for development and small deployments
 * (`NodeCyclesServer`).
 */
export * as CyclesServer from "./CyclesServer.ts"
export * as NodeCyclesServer from "./NodeCyclesServer.ts"
