/**
 * Every key of the ledger that is read outside a script. Scripts build the same names from the same prefix
 * (`scripts/prelude/`). All keys carry the hash tag of the installation, so a cluster keeps them in one slot.
 *
 * | key                      | type   | holds                                                    | lives                |
 * |--------------------------|--------|----------------------------------------------------------|----------------------|
 * | runs                     | set    | run keys                                                 | for ever             |
 * | run:<key>                | hash   | state, side, counts, checkpoint                          | for ever             |
 * | run:<key>:high           | hash   | last durable source row by lane (segment, client, prefix)| with its run         |
 * | run:<key>:archives       | list   | archive ids                                              | with its run         |
 * | run:<key>:open           | hash   | open archive by segment                                  | with its run         |
 * | run:<key>:spooled        | list   | chunks that wait for a strict run's flush                | until the flush      |
 * | run:<key>:clients        | hash   | by client: last measured row, time since its last call, deferral | with its run |
 * | run:<key>:waiting        | zset   | its queued and held chunks by order                      | while they wait      |
 * | chunk:<id>               | hash   | one chunk and its reservation                            | with its run         |
 * | archive:<id>(:chunks)    | hash, list | one archive and its chunks in order                  | with its run         |
 * | archive:<id>:prefixes    | set    | shared prefixes of its chunks                            | with its run         |
 * | primers, primers:since   | hash, zset | archive that went ahead for a prefix of a side, and when | two days         |
 * | intent:<id>              | hash   | one attempt to submit                                    | with its run         |
 * | segments, segment:<name> | set, hash | counters and state                                    | for ever             |
 * | queued:<segment>         | zset   | queued chunks by tag (share.lua)                         | while queued         |
 * | ready:<priority>         | zset   | segments with queued chunks by their smallest tag        | while queued         |
 * | standing                 | hash   | generation, epoch, whether it is behind or being rebuilt | for ever             |
 * | shares:<line>:<priority> | hash   | fair shares: the line's clock, the last tag of each client | for ever           |
 * | weights                  | hash   | weight by client                                         | for ever             |
 * | clients, client:<name>   | set, hash | what a client has used of its minute and day, its last call | for ever       |
 * | client:<name>:days       | hash   | what it has handed in, by UTC day                        | 400 days             |
 * | tiers                    | hash   | the newest word of an operator on each client's tier     | for ever             |
 * | stops, stop:<scope>(:held) | set, hash, zset | why something stands still, and what           | while it does        |
 * | stops:count              | string | stops of budgets so far; with the time their events' ids | until a rebuild      |
 * | budgets, budget:<target> | set, hash | limits                                                | for ever             |
 * | replans                  | set    | replans that were carried out                            | for ever             |
 * | calendars                | set    | calendar windows of budgets, `<unit>|<time zone>`        | for ever             |
 * | accounts, account:<name> | set, hash | reserved and spent                                    | 30 days after its window, without end: for ever |
 * | calibrations, calibration:<topic>\|<model> | set, hash | rows by the share of their bound that they consumed | for ever |
 * | turnaround:<segment>     | list   | how long its last archives took, ms; `all`: of any       | for ever             |
 * | lake                     | string | id of the lake that this ledger belongs to               | for ever             |
 * | lanes, lane:<account>    | set, hash | who may post, how much the provider's queue holds     | for ever             |
 * | sealed                   | zset   | archives in line for the submitter, by priority and share | while in line       |
 * | sealed:since             | zset   | the same archives by when they were sealed, ms           | while in line        |
 * | doubts                   | set    | archives in doubt                                        | while in doubt       |
 * | batches                  | hash   | intent by batch id: a batch is bound once                | for ever             |
 * | adoptions                | set    | adopted intents whose results have not confirmed it yet  | until they are read  |
 * | intent:<id>:foreign      | set    | batches that were bound to it and hold none of its rows  | with its run         |
 * | forgone:<account>        | zset   | intents that were given up, by when their batch can turn up no more | until it has, or a day |
 * | strangers:<account>      | zset   | batches of others, by creation: not read again           | 30 days              |
 * | strangers:<account>:named | hash  | the archive that each of them names, empty if none       | as above             |
 * | due:<stage>              | zset   | what waits for a stage, by due time                      | while it waits       |
 * | claims, epochs           | hash   | who works on it; how often the sweeper woke it           | while it waits       |
 * | relays, relay:<sink>     | set, hash | who tells a sink, and up to which event it was told   | for ever             |
 * | events, events:sequence  | stream | the outbox                                               | trimmed by the relay |
 */

/** The keys of one installation. `tag` is its name, for example `plimsoll`. */
export interface LedgerKeys {
  /** What every key begins with; also KEYS[1] of every script. */
  readonly prefix: string;
  /** BullMQ's prefix: its keys share the hash tag. */
  readonly queuePrefix: string;
  of(name: string): string;
}

/** Builds the keys of an installation; `tag` has only `[a-z0-9-]`. */
export function ledgerKeys(tag: string): LedgerKeys {
  const prefix = `{${tag}}:`;
  return { prefix, queuePrefix: `{${tag}}`, of: (name) => `${prefix}${name}` };
}
