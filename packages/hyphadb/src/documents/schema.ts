/** Validation by any validator that speaks Standard Schema v1 (zod, valibot, arktype, …): https://standardschema.dev */
import { HyphaError } from '../base/errors.js'

export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

export type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] }

export interface StandardIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

export function checkSchema(schema: unknown): StandardSchema | undefined {
  if (schema === undefined) return undefined
  const isCandidate = (typeof schema === 'object' && schema !== null) || typeof schema === 'function'
  if (!isCandidate || !('~standard' in schema)) {
    throw new HyphaError(
      'HYPHA_INVALID',
      "schema is a Standard Schema validator (zod, valibot, arktype, …): it has a property '~standard'",
    )
  }
  return schema as StandardSchema
}

function outcome(result: StandardResult<unknown>, collection: string): object {
  if (result.issues === undefined) return result.value as object
  const issues = result.issues.map(issue => {
    const path = (issue.path ?? []).map(step => String(typeof step === 'object' ? step.key : step)).join('.')
    return path === '' ? issue.message : `${path}: ${issue.message}`
  })
  throw new HyphaError(
    'HYPHA_INVALID',
    `The document does not fit the schema of '${collection}': ${issues.join('; ')}`,
    { cause: result.issues },
  )
}

/** The validated (and transformed) document, or a promise of it if the validator is asynchronous. */
export function validate(
  schema: StandardSchema | undefined,
  document: object,
  collection: string,
): object | Promise<object> {
  if (schema === undefined) return document
  const result = schema['~standard'].validate(document)
  return result instanceof Promise ? result.then(settled => outcome(settled, collection)) : outcome(result, collection)
}

/** The same where nothing can be awaited. */
export function validateSync(schema: StandardSchema | undefined, document: object, collection: string): object {
  const result = validate(schema, document, collection)
  if (result instanceof Promise) {
    result.catch(() => undefined)
    throw new HyphaError(
      'HYPHA_INVALID',
      `The schema of '${collection}' validates asynchronously: write through the collection's own methods, outside transactions`,
    )
  }
  return result
}
