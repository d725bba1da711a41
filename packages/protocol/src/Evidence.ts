/**
 * Signed evidence of what the server decided: the reference that answers carry, the envelope, and the public keys.
 *
 * Source: CyclesEvidenceRef, CyclesEvidenceEnvelope and CyclesEvidenceJwks of the protocol.
 */
import * as Schema from "effect/Schema"
import { struct } from "./internal/names.ts"
import * as Wire from "./internal/schema.ts"

/** Where the evidence of an operation is. It only informs: in an answer one that is wrong counts as absent. */
export const EvidenceRef = struct({
  evidenceId: Schema.String,
  cyclesEvidenceUrl: Schema.String
})

/** Where the evidence of an operation is. */
export type EvidenceRef = typeof EvidenceRef.Type

/** The evidence of a reservation, by operation. */
export const ReservationEvidence = Schema.Struct({
  reserve: Schema.optionalKey(EvidenceRef),
  commit: Schema.optionalKey(EvidenceRef),
  release: Schema.optionalKey(EvidenceRef)
})

/** The evidence of a reservation, by operation. */
export type ReservationEvidence = typeof ReservationEvidence.Type

/** A signed envelope. What is signed is the canonical JSON of the whole, so that every key is kept as it came. */
export const EvidenceEnvelope = Schema.StructWithRest(
  Schema.Struct({
    schema_version: Schema.String,
    artifact_type: Schema.String,
    server_id: Schema.String,
    signer_did: Schema.String,
    issued_at_ms: Wire.natural,
    trace_id: Schema.optionalKey(Schema.String),
    payload: Wire.unknownObject,
    evidence_id: Schema.String,
    signature: Schema.String
  }),
  [Wire.unknownObject]
)

/** A signed envelope, with the keys of the wire. */
export type EvidenceEnvelope = typeof EvidenceEnvelope.Type

/** A public key with the time in which it signed. */
export const EvidenceJwk = Schema.StructWithRest(
  Schema.Struct({
    kty: Schema.String,
    crv: Schema.String,
    alg: Schema.optionalKey(Schema.String),
    x: Schema.String,
    kid: Schema.String,
    cycles_nbf_ms: Wire.natural,
    cycles_exp_ms: Schema.optionalKey(Schema.NullOr(Wire.natural)),
    status: Schema.optionalKey(Schema.String)
  }),
  [Wire.unknownObject]
)

/** A public key with the time in which it signed. */
export type EvidenceJwk = typeof EvidenceJwk.Type

/** The public keys that evidence is signed with, retired ones included. */
export const EvidenceJwks = Schema.Struct({ keys: Schema.Array(EvidenceJwk) })

/** The public keys that evidence is signed with. */
export type EvidenceJwks = typeof EvidenceJwks.Type
