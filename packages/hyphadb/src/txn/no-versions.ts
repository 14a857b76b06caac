import type { VersionStore } from '../pages/page-access.js'

/** For trees whose rows have no history: the tree of kept versions. */
export const noVersions: VersionStore = {
  floor: Number.MAX_SAFE_INTEGER,
  push: () => 0,
  read: () => -1,
}
