/** Refuses a Redis that the product must not be built on, before anything is written to it. */
import type { Redis } from 'ioredis';
import { PlimsollError } from '../segments/errors.ts';
import { judgeRedis } from './fitness.ts';

/** A Redis that may evict keys or cannot write its file loses reservations and intents: money. @throws PlimsollError `redis_unfit` */
export async function proveFit(redis: Redis): Promise<void> {
  const unfit = judgeRedis(await redis.info(), undefined).find((finding) => finding.verdict === 'fail');
  if (unfit) throw new PlimsollError('redis_unfit', { message: unfit.detail, where: `REDIS_URL, ${unfit.check}`, ...(unfit.fix === undefined ? {} : { hint: unfit.fix }) });
}
