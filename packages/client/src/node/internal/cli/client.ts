/** The client of a command. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CyclesClient from "../../../CyclesClient.ts"
import type { CyclesTransport } from "../../../CyclesTransport.ts"
import * as NodeTransport from "../../NodeTransport.ts"
import * as Proxy from "../proxy.ts"
import { messageOf } from "../problem.ts"
import { CliFailure } from "./failure.ts"
import type { Settings } from "./settings.ts"

/** The proxies of the environment. Fails if a variable is invalid. */
export const proxies: Effect.Effect<Proxy.Proxies, CliFailure> = Effect.try({
  // The transport reads the variables of the process too.
  try: () => Proxy.fromEnv(process.env),
  catch: (error) => new CliFailure({ problem: messageOf(error), advice: "Correct or remove the variable." })
})

/** Provides a client, and the transport that it uses. Fails if a variable of a proxy is invalid. */
export const layer = ({
  config,
  connectTimeout
}: Settings): Layer.Layer<CyclesClient.CyclesClient | CyclesTransport, CliFailure> =>
  Layer.unwrap(
    Effect.map(proxies, () =>
      CyclesClient.layer(config).pipe(Layer.provideMerge(NodeTransport.layer({ connectTimeout })))
    )
  )

/** The client of these settings, for the duration of an effect. */
export const withClient = <A, E, R>(
  settings: Settings,
  use: (client: CyclesClient.CyclesClient) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | CliFailure, Exclude<R, CyclesClient.CyclesClient | CyclesTransport>> =>
  Effect.flatMap(CyclesClient.CyclesClient, use).pipe(Effect.provide(layer(settings)))
