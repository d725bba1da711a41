/**
 * The data file of the simulated server. Writes are durable after a commit. A crash loses all other writes, and
 * a restarted server reads the committed rows.
 */
import { decode, decodeReservation, encode, encodeReservation } from "../../../../server/src/internal/codec.ts"
import type { Reservation, StoredResponse } from "../../../../server/src/internal/model.ts"
import type { Store, Table } from "../../../../server/src/internal/store.ts"
import { makeMemory, tableSchemas } from "../../../../server/src/internal/store.ts"

/** The rows of a table on the disk, by id. */
type Rows<A> = Map<string, A>

/** A data file. */
export class DataFile {
  readonly #tenants: Rows<Parameters<Store["tenants"]["put"]>[0]> = new Map()
  readonly #keys: Rows<Parameters<Store["keys"]["put"]>[0]> = new Map()
  readonly #budgets: Rows<Parameters<Store["budgets"]["put"]>[0]> = new Map()
  readonly #policies: Rows<Parameters<Store["policies"]["put"]>[0]> = new Map()
  readonly #reservations: Rows<Reservation> = new Map()
  readonly #responses: Rows<StoredResponse> = new Map()

  /** Opens the file, which reads all rows. The stores that were opened before must not be used any more. */
  open(): Store {
    const memory = makeMemory()
    for (const row of this.#tenants.values()) memory.tenants.put(decode(encode(row)))
    for (const row of this.#keys.values()) memory.keys.put(decode(encode(row)))
    for (const row of this.#budgets.values()) memory.budgets.put(decode(encode(row)))
    for (const row of this.#policies.values()) memory.policies.put(decode(encode(row)))
    for (const row of this.#reservations.values()) memory.reservations.put(decodeReservation(encodeReservation(row)))
    for (const row of this.#responses.values()) memory.responses.put({ ...row })
    let changes: Array<() => void> = []
    const written = <A>(table: Table<A>, rows: Rows<A>, id: (value: A) => string): Table<A> => ({
      ...table,
      put: (value) => {
        table.put(value)
        changes.push(() => void rows.set(id(value), value))
      }
    })
    return {
      tenants: written(memory.tenants, this.#tenants, tableSchemas.tenants.id),
      keys: written(memory.keys, this.#keys, tableSchemas.keys.id),
      budgets: written(memory.budgets, this.#budgets, tableSchemas.budgets.id),
      policies: written(memory.policies, this.#policies, tableSchemas.policies.id),
      reservations: {
        ...memory.reservations,
        put: (value) => {
          memory.reservations.put(value)
          changes.push(() => void this.#reservations.set(value.id, value))
        },
        remove: (id) => {
          memory.reservations.remove(id)
          changes.push(() => void this.#reservations.delete(id))
        }
      },
      // A response that was forgotten is forgotten again after a restart.
      responses: {
        ...memory.responses,
        put: (value) => {
          memory.responses.put(value)
          changes.push(() => void this.#responses.set(value.id, value))
        }
      },
      isDirty: () => changes.length > 0,
      commit: () => {
        const made = changes
        changes = []
        for (const change of made) change()
      },
      close: () => {}
    }
  }
}
