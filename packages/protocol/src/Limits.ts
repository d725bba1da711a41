/**
 * The limits and defaults of the protocol.
 *
 * **Details**
 *
 * The protocol only recommends `subjectPattern`; servers may enforce it. `maxJsonDepth` and `maxMetric` are limits of the
 * reference server.
 *
 * @see the schemas of the Cycles protocol
 * @since 0.1.0
 */

/**
 * The largest amount and the latest instant.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxInt64 = 9_223_372_036_854_775_807n

/**
 * The smallest signed amount.
 *
 * @category limits
 * @since 0.1.0
 */
export const minInt64 = -9_223_372_036_854_775_808n

/**
 * The longest idempotency key, in characters. The shortest has 1.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxIdempotencyKey = 256

/**
 * The longest reservation id, in characters. The shortest has 1.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxReservationId = 128

/**
 * The longest value of a subject field, in characters. The shortest has 1.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxSubjectValue = 128

/**
 * The characters that a subject field may contain.
 *
 * @category limits
 * @since 0.1.0
 */
export const subjectPattern = /^[a-zA-Z0-9_.-]+$/

/**
 * The largest number of `dimensions`.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxDimensions = 16

/**
 * The longest value in `dimensions`, in characters.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxDimensionValue = 256

/**
 * The longest kind of an action, in characters.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxActionKind = 64

/**
 * The longest name of an action or a tool, in characters.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxActionName = 256

/**
 * The largest number of tags of an action.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxTags = 10

/**
 * The longest tag, in characters.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxTag = 64

/**
 * The shortest lifetime of a reservation, in milliseconds.
 *
 * @category limits
 * @since 0.1.0
 */
export const minTtlMs = 1_000

/**
 * The longest lifetime of a reservation, in milliseconds.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxTtlMs = 86_400_000

/**
 * The default lifetime of a reservation, in milliseconds.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultTtlMs = 60_000

/**
 * The longest grace period of a reservation, in milliseconds.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxGracePeriodMs = 60_000

/**
 * The default grace period of a reservation, in milliseconds.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultGracePeriodMs = 5_000

/**
 * The longest single extension, in milliseconds.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxExtendByMs = 86_400_000

/**
 * The longest reason of a release, in characters.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxReason = 256

/**
 * The longest `model_version`, in characters.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxModelVersion = 128

/**
 * The largest page, in rows.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxPageSize = 200

/**
 * The default size of a page, in rows.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaultPageSize = 50

/**
 * The deepest nesting of a value in `metadata` or `custom`. The reference server accepts 1,000 levels in a whole request.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxJsonDepth = 997

/**
 * The largest count and latency in metrics. The reference server stores them in 32 bits.
 *
 * @category limits
 * @since 0.1.0
 */
export const maxMetric = 2_147_483_647
