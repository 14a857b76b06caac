/**
 * The commands of `hypha`, their options and their help. What each does is in commands/, loaded when it is called.
 */
import { Command, Option } from 'commander'
import { collect, wholeNumber } from './arguments.js'
import { DEFAULT_LINE_LIMIT_BYTES } from './input/line-blocks.js'
import { VERSION } from './version.js'

const MIB = 1024 * 1024

const JSON_NOTE = `
Documents are written and read as JSON. What JSON lacks stands as an object with one field:
  {"$date":"2016-05-03T00:00:00Z"}   {"$bigint":"9007199254740993"}   {"$bytes":"aHlwaGE="}
Dates are written as plain ISO text unless --typed is given; in filters and in documents that
come in, {"$date":…} is a date and plain text is text.`

export function buildProgram(stop: AbortSignal): Command {
  const program = new Command('hypha')
    .description('HyphaDB on the command line: many processes, one directory, no server.')
    .version(VERSION)
    .exitOverride()
    .showHelpAfterError('Try hypha --help, or hypha <command> --help.')
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .addHelpText(
      'after',
      `
Each command opens the directory beside whatever processes have it open already: nothing has to be
stopped for it. --json makes stdout machine-readable: one object, or one a line for rows.
Exit codes: 0 done, 1 failed (stderr has code: message), 2 wrong usage.

Examples:
  hypha sample price-paid --rows 100000 --seed 1 > sales.csv
  hypha import ./prices sales sales.csv --preset price-paid --index town,price --index postcode
  hypha find ./prices sales '{"town":"LEEDS","price":{"$gte":500000}}' --sort price:-1 --limit 3
  hypha demo`,
    )
  addImport(program, stop)
  addQueries(program, stop)
  addDocuments(program)
  addMaintenance(program, stop)
  addSamples(program, stop)
  return program
}

const json = (): Option => new Option('--json', 'machine-readable output')

function addImport(program: Command, stop: AbortSignal): void {
  program
    .command('import')
    .description('store the records of a CSV or JSON lines file')
    .argument('<dir>', 'directory of the database; created if missing')
    .argument('<collection>', 'collection; created if missing')
    .argument('<file>', 'file, or - for stdin')
    .addOption(new Option('--preset <name>', "names and types of a known file's columns").choices(['price-paid']))
    .addOption(new Option('--format <format>', 'when the name of the file does not say').choices(['csv', 'jsonl']))
    .option('--key <field>', 'field that identifies a record; without it, id, made up where a record has none')
    .option(
      '--columns <a,b:type>',
      'columns of a CSV file without a header line: text, number, bigint, boolean, date, json',
    )
    .option('--types <a:type>', 'types of columns that the header line names; the others are text')
    .option('--index <a,b>', 'keep an index on these fields (repeatable)', collect)
    .option('--batch <n>', 'records in a transaction', wholeNumber('--batch', 1, 100_000), 50)
    .option(
      '--line-limit <bytes>',
      'longer lines are rejected',
      wholeNumber('--line-limit', 1024, 512 * MIB),
      DEFAULT_LINE_LIMIT_BYTES,
    )
    .option('--rejected <file>', 'where rejected rows go (default: <file>.rejected)')
    .option('--memory <size>', 'budget of the shared region, if this process is the first to open, e.g. 256MB')
    .addOption(json())
    .addHelpText(
      'after',
      `
A record whose key is there already replaces it, so an import that was cut short can be run again.
Rows that cannot be read are written to <file>.rejected as {"line":…,"reason":…,"text":…} and cost no
other row; the command fails only if no record at all could be stored. Empty CSV fields are left out
of the document. A quoted field may hold line breaks; a record ends within 1 MiB.
--json prints {"records":…,"rejected":…,"seconds":…,"recordsPerSecond":…}.
${JSON_NOTE}

Examples:
  hypha import ./prices sales pp-2024.csv --preset price-paid --index town,price --index postcode
  hypha import ./shop orders orders.csv --key number --types number:number,placed:date
  tail -n 1000 log.jsonl | hypha import ./logs entries -`,
    )
    .action(async (directory: string, collection: string, file: string, options: ImportCommandOptions) => {
      const { importCommand } = await import('./commands/import.js')
      await importCommand(directory, collection, file, options, stop)
    })
}

export interface ImportCommandOptions {
  preset?: 'price-paid'
  format?: 'csv' | 'jsonl'
  key?: string
  columns?: string
  types?: string
  index?: string[]
  batch: number
  lineLimit: number
  rejected?: string
  memory?: string
  json?: true
}

function addQueries(program: Command, stop: AbortSignal): void {
  program
    .command('find')
    .description('documents that match a filter, as JSON lines')
    .argument('<dir>', 'directory of the database')
    .argument('<collection>', 'collection')
    .argument('[filter]', 'filter as JSON, in the style of MongoDB; all documents without it')
    .option('--sort <field:-1>', 'order, as price:-1,town or as JSON')
    .option('--limit <n>', 'at most so many documents', wholeNumber('--limit', 0))
    .option('--fields <a,b>', 'only these fields')
    .option('--explain', 'how the query would be answered, instead of its documents')
    .option('--typed', 'write dates as {"$date":…}')
    .addOption(json())
    .addHelpText(
      'after',
      `
Operators: $eq $ne $gt $gte $lt $lte $in $nin $and $or $nor $not $exists and others of MongoDB.
${JSON_NOTE}

Examples:
  hypha find ./prices sales '{"town":"LEEDS","price":{"$gte":500000}}' --sort price:-1 --limit 3
  hypha find ./prices sales '{"date":{"$gte":{"$date":"2024-01-01"}}}' --fields date,price,town
  hypha find ./prices sales '{"postcode":"LS1 4AP"}' --explain`,
    )
    .action(async (directory: string, collection: string, filter: string | undefined, options: FindCommandOptions) => {
      const { findCommand } = await import('./commands/find.js')
      await findCommand(directory, collection, filter, options, stop)
    })
  program
    .command('count')
    .description('how many documents match a filter')
    .argument('<dir>', 'directory of the database')
    .argument('<collection>', 'collection')
    .argument('[filter]', 'filter as JSON; all documents without it')
    .addOption(json())
    .addHelpText(
      'after',
      `
--json prints {"count":…}.

Example:
  hypha count ./prices sales '{"town":"LEEDS"}'`,
    )
    .action(async (directory: string, collection: string, filter: string | undefined, options: { json?: true }) => {
      const { countCommand } = await import('./commands/find.js')
      await countCommand(directory, collection, filter, options)
    })
  program
    .command('export')
    .description('write a collection, as it is at one moment, to a file or to stdout')
    .argument('<dir>', 'directory of the database')
    .argument('<collection>', 'collection')
    .argument('[file]', 'file; stdout without it')
    .addOption(
      new Option('--format <format>', 'when the name of the file does not say (default: jsonl)').choices([
        'csv',
        'jsonl',
      ]),
    )
    .option('--filter <json>', 'only documents that match')
    .option('--fields <a,b>', 'only these fields; the columns of a CSV file')
    .option('--typed', 'write dates as {"$date":…}, so that an import gives back the same documents')
    .addOption(json())
    .addHelpText(
      'after',
      `
Everything is read from one snapshot, whatever is written meanwhile. A file appears under its name
only when it is complete. CSV has a header line; without --fields its columns are all fields that
occur, which takes a second pass over the same snapshot. With a file, --json prints {"records":…}.
${JSON_NOTE}

Examples:
  hypha export ./prices sales sales.jsonl --typed
  hypha export ./prices sales leeds.csv --filter '{"town":"LEEDS"}' --fields date,price,postcode`,
    )
    .action(async (directory: string, collection: string, file: string | undefined, options: ExportCommandOptions) => {
      const { exportCommand } = await import('./commands/export.js')
      await exportCommand(directory, collection, file, options, stop)
    })
}

export interface FindCommandOptions {
  sort?: string
  limit?: number
  fields?: string
  explain?: true
  typed?: true
  json?: true
}

export interface ExportCommandOptions {
  format?: 'csv' | 'jsonl'
  filter?: string
  fields?: string
  typed?: true
  json?: true
}

const ID_NOTE = `
The id is taken as text; if there is no such document and it reads as JSON (a number, an array,
{"$date":…}), as that. --json-id takes it as JSON at once.`

function addDocuments(program: Command): void {
  program
    .command('get')
    .description('one document by its id')
    .argument('<dir>', 'directory of the database')
    .argument('<collection>', 'collection')
    .argument('<id>', 'id of the document')
    .option('--json-id', 'the id is JSON')
    .option('--typed', 'write dates as {"$date":…}')
    .addOption(json())
    .addHelpText(
      'after',
      `
Prints the document as one line of JSON. Without such a document: HYPHA_NOT_FOUND, exit code 1.
${ID_NOTE}

Example:
  hypha get ./shop orders 1017`,
    )
    .action(async (directory: string, collection: string, id: string, options: DocumentCommandOptions) => {
      const { getCommand } = await import('./commands/documents.js')
      await getCommand(directory, collection, id, options)
    })
  program
    .command('put')
    .description('store one document, replacing the one with its id')
    .argument('<dir>', 'directory of the database; created if missing')
    .argument('<collection>', 'collection; created if missing')
    .argument('[document]', 'document as JSON; from stdin without it, or with -')
    .option('--key <field>', 'field that identifies a document, when the collection is new (default: id)')
    .addOption(json())
    .addHelpText(
      'after',
      `
Prints the id, once the document is on disk. --json prints {"id":…}.
${JSON_NOTE}

Example:
  hypha put ./shop orders '{"id":1017,"placed":{"$date":"2026-11-20"},"total":12.5}'`,
    )
    .action(
      async (
        directory: string,
        collection: string,
        document: string | undefined,
        options: { key?: string; json?: true },
      ) => {
        const { putCommand } = await import('./commands/documents.js')
        await putCommand(directory, collection, document, options)
      },
    )
  program
    .command('delete')
    .description('delete one document by its id')
    .argument('<dir>', 'directory of the database')
    .argument('<collection>', 'collection')
    .argument('<id>', 'id of the document')
    .option('--json-id', 'the id is JSON')
    .addOption(json())
    .addHelpText(
      'after',
      `
Without such a document: HYPHA_NOT_FOUND, exit code 1. --json prints {"deleted":1}.
${ID_NOTE}

Example:
  hypha delete ./shop orders 1017`,
    )
    .action(async (directory: string, collection: string, id: string, options: DocumentCommandOptions) => {
      const { deleteCommand } = await import('./commands/documents.js')
      await deleteCommand(directory, collection, id, options)
    })
}

export interface DocumentCommandOptions {
  jsonId?: true
  typed?: true
  json?: true
}

function addMaintenance(program: Command, stop: AbortSignal): void {
  program
    .command('stats')
    .description('figures of a database: pool, log, tables, participants, snapshots, checkpoint')
    .argument('<dir>', 'directory of the database')
    .option('--watch', 'again and again, until Ctrl-C')
    .option('--every <ms>', 'pause between two looks', wholeNumber('--every', 50, 3_600_000), 1000)
    .addOption(json())
    .addHelpText(
      'after',
      `
Examples:
  hypha stats ./prices
  hypha stats ./prices --watch --json --every 5000`,
    )
    .action(async (directory: string, options: StatsCommandOptions) => {
      const { statsCommand } = await import('./commands/stats.js')
      await statsCommand(directory, options, stop)
    })
  program
    .command('verify')
    .description('check every block, page, tree, index entry and log record')
    .argument('<dir>', 'directory of the database')
    .addOption(json())
    .addHelpText(
      'after',
      `
Lists every fault that is found, one a line, and exits with 1 if there is any.

Example:
  hypha verify ./prices`,
    )
    .action(async (directory: string, options: { json?: true }) => {
      const { verifyCommand } = await import('./commands/verify.js')
      await verifyCommand(directory, options)
    })
}

export interface StatsCommandOptions {
  watch?: true
  every: number
  json?: true
}

function addSamples(program: Command, stop: AbortSignal): void {
  program
    .command('sample')
    .description('made-up rows in the shape of a real file, on stdout')
    .addArgument(program.createArgument('<kind>', 'what to make up').choices(['price-paid']))
    .option('--rows <n>', 'how many', wholeNumber('--rows', 0, 2 ** 32), 1000)
    .option('--seed <s>', 'the same seed gives the same rows', wholeNumber('--seed', 0, 2 ** 32 - 1), 1)
    .addOption(new Option('--json', 'the rows as JSON lines, as an import with --preset price-paid would store them'))
    .addHelpText(
      'after',
      `
price-paid has the columns of HM Land Registry's Price Paid Data: id, price, date, postcode,
property type, new build, duration, PAON, SAON, street, locality, town, district, county,
category, status; no header, every field quoted. No row is a real sale.
The real file: https://www.gov.uk/government/statistical-data-sets/price-paid-data-downloads

Example:
  hypha sample price-paid --rows 100000 --seed 1 > sales.csv`,
    )
    .action(async (_kind: string, options: SampleCommandOptions) => {
      const { sampleCommand } = await import('./commands/sample.js')
      await sampleCommand(options, stop)
    })
  program
    .command('demo')
    .description('the main job on this machine: import while others query and write, one of them killed; checked')
    .option('--rows <n>', 'records to import', wholeNumber('--rows', 1000, 10_000_000), 200_000)
    .option('--seed <s>', 'seed of the made-up records', wholeNumber('--seed', 0, 2 ** 32 - 1), 1)
    .option('--keep', 'leave the directory there, to look at')
    .addOption(json())
    .addHelpText(
      'after',
      `
In a temporary directory: makes up records, imports them while two processes query and a third one
writes, kills the writer (SIGKILL) in the middle of it, and lets the rest carry on. Then all figures
are compared with a plain count of the file, the writer's acknowledged records are looked for, and
the database is verified. Exits with 1 if any check fails.`,
    )
    .action(async (options: DemoCommandOptions) => {
      const { demoCommand } = await import('./commands/demo.js')
      await demoCommand(options, stop)
    })
}

export interface SampleCommandOptions {
  rows: number
  seed: number
  json?: true
}

export interface DemoCommandOptions {
  rows: number
  seed: number
  keep?: true
  json?: true
}
