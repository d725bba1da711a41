/** The list of areas. */
import type { AnyArea } from "./area.ts"
import { any } from "./area.ts"
import { configuration } from "./configuration.ts"
import { journals } from "./journals.ts"
import { lifecycles } from "./lifecycles.ts"
import { requests } from "./requests.ts"
import { responses } from "./responses.ts"
import { userValues } from "./userValues.ts"

/** All areas of the suite. */
export const areas: ReadonlyArray<AnyArea> = [
  any(responses),
  any(lifecycles),
  any(requests),
  any(journals),
  any(configuration),
  any(userValues)
]
