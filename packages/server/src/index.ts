/**
 * An embedded Cycles server.
 *
 * - `CyclesServer`: in the process of a test, without a port.
 * - `NodeCyclesServer`: on a port, for development and small deployments.
 *
 * @since 0.1.0
 */
/**
 * The embedded server in the process of a test.
 *
 * @since 0.1.0
 */
export * as CyclesServer from "./CyclesServer.ts"

/**
 * The embedded server on a port.
 *
 * @since 0.1.0
 */
export * as NodeCyclesServer from "./NodeCyclesServer.ts"
