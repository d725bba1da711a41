/**
 * The encoding of a reservation in responses.
 *
 * @see ReservationDetail in cycles-protocol-v0.yaml
 */
import { money } from "./accounting.ts"
import type { Reservation } from "./model.ts"

/** The optional fields of a reservation. */
export const allFields: ReadonlySet<string> = new Set(["metadata", "committed_metadata"])

/** Encodes a reservation. Absent subject fields and tags are null, as in the reference server. */
export const reservationRow = (reservation: Reservation, include: ReadonlySet<string>): object => {
  const { action, subject, unit } = reservation
  return {
    reservation_id: reservation.id,
    status: reservation.status,
    idempotency_key: reservation.idempotencyKey,
    subject: {
      tenant: subject.tenant ?? null,
      workspace: subject.workspace ?? null,
      app: subject.app ?? null,
      workflow: subject.workflow ?? null,
      agent: subject.agent ?? null,
      toolset: subject.toolset ?? null,
      dimensions: subject.dimensions ?? null
    },
    action: { kind: action.kind, name: action.name, tags: action.tags ?? null },
    reserved: money(unit, reservation.amount),
    committed: reservation.committed === undefined ? undefined : money(unit, reservation.committed),
    created_at_ms: reservation.createdAtMs,
    expires_at_ms: reservation.expiresAtMs,
    finalized_at_ms: reservation.finalizedAtMs,
    scope_path: reservation.scopePath,
    affected_scopes: reservation.affectedScopes,
    metadata: include.has("metadata") ? reservation.metadata : undefined,
    committed_metadata: include.has("committed_metadata") ? reservation.committedMetadata : undefined
  }
}
