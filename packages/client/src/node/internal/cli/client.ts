/** The client of a command. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CyclesClient from "../../../CyclesClient.ts"
import type { CyclesTransport } from "../../../CyclesTransport.ts"
import * as NodeTransport from "../../NodeTransport.ts"
import type { Settings } from "./settings.ts"

/** Provides a client, and the transport that it uses. */
export const layer = ({ config, connectTimeout }: Settings): Layer.Layer<CyclesClient.CyclesClient | CyclesTransport> =>
  CyclesClient.layer(config).pipe(Layer.provideMerge(NodeTransport.layer({ connectTimeout })))

/** The client of these settings, for the duration of an effect. */
export const withClient = <A, E, R>(
  settings: Settings,
  use: (client: CyclesClient.CyclesClient) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, CyclesClient.CyclesClient | CyclesTransport>> =>
  Effect.flatMap(CyclesClient.CyclesClient, use).pipe(Effect.provide(layer(settings)))
