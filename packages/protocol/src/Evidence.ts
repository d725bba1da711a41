/**
 * Signed evidence of the server's decisions: the reference in a response, the signed envelope, and the public keys.
 *
 * @see schemas `CyclesEvidenceRef`, `CyclesEvidenceEnvelope` and `CyclesEvidenceJwks` of the Cycles protocol
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { struct } from "./internal/fieldNames.ts"
import * as Wire from "./internal/schema.ts"

/**
 * Schema of a reference to the evidence of an operation. An invalid reference in a response counts as absent.
 *
 * @see schema `CyclesEvidenceRef` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const EvidenceRef = struct({
  /** The content hash of the envelope, 64 hexadecimal digits. */
  evidenceId: Schema.String,
  /** The absolute URL of the envelope. It may return 404 shortly after the operation. */
  cyclesEvidenceUrl: Schema.String
})

/**
 * A reference to the evidence of an operation.
 *
 * @category models
 * @since 0.1.0
 */
export type EvidenceRef = typeof EvidenceRef.Type

/**
 * Schema of the evidence of a reservation, by operation. A reservation has either `commit` or `release`, never both.
 *
 * @see schema `ReservationEvidence` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const ReservationEvidence = Schema.Struct({
  /** The evidence of the reserve. */
  reserve: Schema.optionalKey(EvidenceRef),
  /** The evidence of the commit. */
  commit: Schema.optionalKey(EvidenceRef),
  /** The evidence of the release. */
  release: Schema.optionalKey(EvidenceRef)
})

/**
 * The evidence of a reservation, by operation.
 *
 * @category models
 * @since 0.1.0
 */
export type ReservationEvidence = typeof ReservationEvidence.Type

/**
 * Schema of a signed envelope, with the field names of the wire.
 *
 * **Details**
 *
 * The signature covers the canonical JSON of the whole envelope, so unknown fields and names are kept as they were received.
 *
 * @see schema `CyclesEvidenceEnvelope` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const EvidenceEnvelope = Schema.StructWithRest(
  Schema.Struct({
    /** The version of the evidence format. */
    schema_version: Schema.String,
    /** The operation: `decide`, `reserve`, `commit`, `release` or `error`. */
    artifact_type: Schema.String,
    /** The stable URI of the server that issued it. */
    server_id: Schema.String,
    /** The key that verifies the signature. */
    signer_did: Schema.String,
    /** When it was issued, in epoch milliseconds. Selects the public key. */
    issued_at_ms: Wire.natural,
    /** The trace that the operation belongs to. */
    trace_id: Schema.optionalKey(Schema.String),
    /** The request and the response of the operation. */
    payload: Wire.unknownObject,
    /** The content hash of the envelope, 64 hexadecimal digits. */
    evidence_id: Schema.String,
    /** The Ed25519 signature, in hexadecimal. */
    signature: Schema.String
  }),
  [Wire.unknownObject]
)

/**
 * A signed envelope, with the field names of the wire.
 *
 * @category models
 * @since 0.1.0
 */
export type EvidenceEnvelope = typeof EvidenceEnvelope.Type

/**
 * Schema of a public key and the period in which it signs.
 *
 * @see schema `CyclesEvidenceJwk` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const EvidenceJwk = Schema.StructWithRest(
  Schema.Struct({
    /** The key type, `OKP`. */
    kty: Schema.String,
    /** The curve, `Ed25519`. */
    crv: Schema.String,
    /** The algorithm, `EdDSA`. */
    alg: Schema.optionalKey(Schema.String),
    /** The public key, in unpadded base64url. */
    x: Schema.String,
    /** The id of the key. */
    kid: Schema.String,
    /** The start of the period, inclusive, in epoch milliseconds. */
    cycles_nbf_ms: Wire.natural,
    /** The end of the period, exclusive, in epoch milliseconds. Absent or null while the key is in use. */
    cycles_exp_ms: Schema.optionalKey(Schema.NullOr(Wire.natural)),
    /** For information only: keys are selected by their period. */
    status: Schema.optionalKey(Schema.String)
  }),
  [Wire.unknownObject]
)

/**
 * A public key and the period in which it signs.
 *
 * @category models
 * @since 0.1.0
 */
export type EvidenceJwk = typeof EvidenceJwk.Type

/**
 * Schema of the public keys that verify evidence, retired ones included.
 *
 * @see schema `CyclesEvidenceJwks` of the Cycles protocol
 * @category schemas
 * @since 0.1.0
 */
export const EvidenceJwks = Schema.Struct({
  /** The keys, retired ones included. */
  keys: Schema.Array(EvidenceJwk)
})

/**
 * The public keys that verify evidence, retired ones included.
 *
 * @category models
 * @since 0.1.0
 */
export type EvidenceJwks = typeof EvidenceJwks.Type
