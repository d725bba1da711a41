/**
 * The messages of the protocol, checked and renamed by compiled code: on Node that is available, and a guarded call costs a
 * tenth less.
 */
import * as Compiler from "@effect-cycles/protocol/Compiler"

/** Has each message compiled when it is first used; once for the process. */
export const compile = Compiler.enable
