/** Makes settlements from fields that are valid already: parsed responses, and the client's own values. */
import type * as Schema from "effect/Schema"

/** A class of settlements. */
interface SettlementClass<Fields extends Schema.Struct.Fields, A> {
  readonly fields: Fields
  readonly prototype: A
}

/**
 * Makes an instance without running the constructor, which parses all fields again, even with `disableChecks`. Every
 * guarded call makes a settlement.
 */
export const trusted = <Fields extends Schema.Struct.Fields, A extends object>(
  { prototype }: SettlementClass<Fields, A>,
  fields: Schema.Struct.Type<Fields>
): A => {
  const made: A = Object.create(prototype)
  return Object.assign(made, fields)
}
