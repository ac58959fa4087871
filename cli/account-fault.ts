/** What an operator has to know when the provider refuses an account: which key it was, and that nothing is lost. */
import type { Config } from '../config/config.ts';
import { maskSecret } from '../config/fault.ts';
import { PlimsollError } from '../segments/errors.ts';
import { countOf } from './terminal.ts';

/**
 * Adds to a refusal where the key comes from and its last four characters, by which the provider's console lists keys.
 * `openRows`: prompts of the run that wait for their answer.
 */
export function explainAccountFault(fault: PlimsollError, config: Config, isSimulated: boolean, openRows?: number): PlimsollError {
  if (isSimulated || fault.code === 'ledger_behind') return fault;
  const { apiKey, authToken } = config.anthropic;
  const path = apiKey === undefined ? 'anthropic.authToken' : 'anthropic.apiKey';
  const secret = apiKey ?? authToken ?? '';
  const key = `The key comes from ${config.origins.get(path) ?? 'default'}, ends ${maskSecret(secret)}, and was sent to ${config.anthropic.baseUrl}.`;
  return new PlimsollError(fault.code, {
    message: fault.message,
    ...(fault.where === undefined ? {} : { where: fault.where }),
    hint: `${key}\n  Nothing more is submitted; ${openRows === undefined ? 'everything stays' : `${countOf(openRows, 'row')} ${openRows === 1 ? 'stays' : 'stay'}`} queued, and no attempt is used up. ${fault.code === 'account_at_fault' ? 'Set the account right' : 'Set a key that works'}, then run the same command again, or: plimsoll work`,
    cause: fault,
  });
}
