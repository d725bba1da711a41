/** Errors for requests that violate a limit of the protocol, before they are sent. */
import * as InvalidInput from "@effect-cycles/protocol/InvalidInput"
import type * as Schema from "effect/Schema"
import type { Operation } from "../../CyclesError.ts"
import { InvalidRequest } from "../../CyclesError.ts"

/** Makes the error for a request that violates a limit of the protocol. */
export const invalidRequest = (operation: Operation, error: Schema.SchemaError, input: unknown): InvalidRequest =>
  new InvalidRequest({ operation, fields: InvalidInput.fromIssue(error.issue, input) })
