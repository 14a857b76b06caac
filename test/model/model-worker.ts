/** One process of the model test. */
import { ModelDriver, type ModelSettings } from './driver.js'
import { argument, runPeer } from './processes.js'

runPeer(() => new ModelDriver(argument<ModelSettings>()).run())
