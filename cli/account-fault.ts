/** What an operator has to know when the provider refuses an account: which key it was, and that nothing is lost. */
import type { Config } from '../config/config.ts';
import { maskSecret } from '../config/fault.ts';
import { PlimsollError } from '../segments/errors.ts';

/** Adds to a refusal where the key comes from and its last four characters, by which the provider's console lists keys. */
export function explainAccountFault(fault: PlimsollError, config: Config, isSimulated: boolean): PlimsollError {
  if (isSimulated) return fault;
  const { apiKey, authToken } = config.anthropic;
  const path = apiKey === undefined ? 'anthropic.authToken' : 'anthropic.apiKey';
  const secret = apiKey ?? authToken ?? '';
  const key = `The key comes from ${config.origins.get(path) ?? 'default'}, ends ${maskSecret(secret)}, and was sent to ${config.anthropic.baseUrl}.`;
  return new PlimsollError(fault.code, {
    message: fault.message,
    ...(fault.where === undefined ? {} : { where: fault.where }),
    hint: `${key}\n  Nothing was submitted; everything stays queued, and no attempt is used up. Set a key that works, then run the same command again, or: plimsoll work`,
    cause: fault,
  });
}
